"use strict";
// The gallery's filters, and its way into the viewer.
(() => {
  const SD = window.skyduel || {};
  const root = document.getElementById("gallery");
  if (!root) return;
  const all = (selector) => [...root.querySelectorAll(selector)];
  const bar = root.querySelector(".g-bar");
  const kinds = all("details.g-kind");
  const opened = new Map(kinds.map((k) => [k, k.open]));
  const now = { detector: "", side: "", kind: "" };

  const apply = () => {
    let n = 0;
    for (const kind of kinds) {
      const fits = (!now.side || kind.dataset.side === now.side) && (!now.kind || kind.dataset.kind === now.kind);
      let here = 0;
      for (const row of kind.querySelectorAll(".g-row")) {
        row.hidden = Boolean(now.detector) && row.dataset.detector !== now.detector;
        if (!row.hidden) here += row.querySelectorAll(".g-cut").length;
      }
      kind.hidden = !fits || !here;
      if (!kind.hidden) n += here;
      kind.open = now.kind ? fits : opened.get(kind);
    }
    for (const button of bar.querySelectorAll("button[data-set]")) {
      button.setAttribute("aria-pressed", String(now[button.dataset.set] === button.value));
    }
    root.querySelector(".g-said").textContent = `${n} cut-outs`;
  };
  for (const button of bar.querySelectorAll("button[data-set]")) {
    button.addEventListener("click", () => { now[button.dataset.set] = button.value; apply(); });
  }
  const choice = bar.querySelector("select");
  choice.addEventListener("change", () => { now.kind = choice.value; apply(); });
  choice.value = "";
  const every = bar.querySelector(".g-every");
  every.addEventListener("click", () => {
    const open = kinds.some((k) => !k.hidden && !k.open);
    for (const kind of kinds) if (!kind.hidden) kind.open = open;
  });
  for (const link of all("a[data-place]")) {
    const name = new URLSearchParams(link.dataset.place).get("frame");
    if (SD.has && SD.has(name)) {
      link.href = `#view&${link.dataset.place}`;
      link.title = "Show this place in the viewer";
    } else link.title = "This frame is not in the viewer";
  }
  // Closed parts would be missing on paper.
  addEventListener("beforeprint", () => { for (const kind of kinds) kind.open = true; });
  bar.hidden = false;
  apply();
})();
