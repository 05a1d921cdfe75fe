"use strict";
// Folded sections open when a link leads to them; the contents stand open where there is room.
(() => {
  const open = () => {
    const id = decodeURIComponent(location.hash.slice(1).split("&")[0]);
    const target = id && document.getElementById(id);
    if (!target) return;
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    const fold = target.querySelector(":scope > details.fold");
    if (fold) fold.open = true;
    target.scrollIntoView();
  };
  addEventListener("hashchange", open);
  // Inside a notebook the page has no address of its own, and a plain link would leave it.
  if (location.protocol === "about:") {
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[href^='#'], svg a");
      const to = link && link.getAttribute("href");
      if (!to || !to.startsWith("#")) return;
      event.preventDefault();
      if (location.hash === to) open(); else location.hash = to;
    });
  }
  open();
  const menu = document.querySelector("nav > details");
  const wide = matchMedia("(min-width: 84rem)");
  const fit = () => { menu.open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();
  menu.addEventListener("click", (event) => { if (event.target.tagName === "A" && !wide.matches) menu.open = false; });
  addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details.fold, details.pitfalls")) part.open = true; });
})();
