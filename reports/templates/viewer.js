"use strict";
// The frame viewer: what is shown, and everything one can do with it.
(() => {
  const SD = window.skyduel;
  const holder = document.getElementById("viewer-data");
  if (!holder || typeof DecompressionStream === "undefined") return;
  const data = SD.load("viewer-data");
  const by = (id) => document.getElementById(id);
  const canvas = by("v-canvas");
  const stage = by("v-stage");
  const scale = SD.scale(data.stretch);
  const LOOK = { black: 0, white: 255, mode: "asinh", invert: false };
  const state = {
    index: 0, detector: 0, point: data.start, chosen: null, hover: null, look: { ...LOOK },
    show: Object.fromEntries(SD.CLASSES.map((c) => [c.key, c.on])),
    layers: Object.fromEntries(Object.keys(SD.LAYERS).map((key) => [key, true])),
  };
  let open = null; // the frame that is unpacked
  let touched = false; // the address follows only what the reader did

  const view = {
    x: 0, y: 0, zoom: 1, width: 1, height: 1,
    toScreen: (x, y) => [view.width / 2 + (x - view.x) * view.zoom, view.height / 2 - (y - view.y) * view.zoom],
    toFrame: (u, v) => [view.x + (u - view.width / 2) / view.zoom, view.y - (v - view.height / 2) / view.zoom],
  };
  const frame = () => data.frames[state.index];
  const fitting = () => Math.min(view.width / frame().nx, view.height / frame().ny);
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

  const style = getComputedStyle(by("viewer"));
  const colors = Object.fromEntries(SD.CLASSES.map((c) => [c.mark, style.getPropertyValue(`--mark-${c.mark}`).trim()]));

  const paint = () => { if (open) SD.draw(canvas, open, data, state, view, colors); };
  let waiting = false;
  const redraw = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; paint(); });
  };
  const later = (wait, act) => {
    let timer = 0;
    return () => { clearTimeout(timer); timer = setTimeout(act, wait); };
  };
  const listSoon = later(200, () => {
    if (open && by("v-sources").open) SD.fillTable(by("v-rows"), by("v-caption"), open, data, state, view, (pick) => choose(pick, true));
  });
  const addressSoon = later(400, () => {
    const place = new URLSearchParams({
      frame: frame().name, x: view.x.toFixed(1), y: view.y.toFixed(1), zoom: view.zoom.toFixed(2),
      detector: data.detectors[state.detector], point: data.points[state.point][0],
    });
    try { history.replaceState(null, "", `#view&${place}`); } catch { /* a browser that forbids it on files */ }
  });
  const moved = () => {
    const { nx, ny } = frame();
    view.x = clamp(view.x, -0.5, nx - 0.5);
    view.y = clamp(view.y, -0.5, ny - 0.5);
    hideTip();
    redraw();
    listSoon();
    if (touched) addressSoon();
  };
  const fit = () => {
    [view.x, view.y, view.zoom] = [(frame().nx - 1) / 2, (frame().ny - 1) / 2, fitting()];
    moved();
  };
  const zoomBy = (times, u = view.width / 2, v = view.height / 2) => {
    const [x, y] = view.toFrame(u, v);
    view.zoom = clamp(view.zoom * times, fitting() / 2, 48);
    view.x = x - (u - view.width / 2) / view.zoom;
    view.y = y + (v - view.height / 2) / view.zoom;
    moved();
  };

  const say = (title, text = "", more = "") => {
    by("v-said").replaceChildren(SD.make("b", title), ` ${text}`, ...(more ? [SD.make("span", ` ${more}`, { className: "soft" })] : []));
  };
  const choose = (pick, centre) => {
    state.chosen = pick;
    if (!pick) say("Nothing selected.", "Click a mark, or press n for the next mistake.");
    else {
      const table = SD.tableOf(open, state, pick);
      const facts = SD.facts(open, data, state, pick);
      say(`${facts.title}:`, facts.text, facts.more);
      if (centre && Number.isFinite(table.x[pick.row])) {
        [view.x, view.y, view.zoom] = [table.x[pick.row], table.y[pick.row], Math.max(view.zoom, 4)];
      }
    }
    moved();
  };
  let step = -1;
  const nextMistake = (by_) => {
    const list = SD.mistakes(open, state);
    if (!list.length) { say("No mistake is switched on in this frame."); return; }
    step = (((step < 0 && by_ < 0 ? 0 : step) + by_) % list.length + list.length) % list.length;
    choose(list[step], true);
  };

  const update = () => {
    // After another frame, detector or operating point: counts, and nothing selected.
    const counts = SD.counts(open, state);
    for (const c of SD.CLASSES) by(`v-n-${c.key}`).textContent = counts ? counts[c.key] : "\u2013";
    canvas.setAttribute("aria-label", `Frame ${frame().name}, ${data.detectors[state.detector]}, operating point ${data.points[state.point][1]}. ${
      counts ? `${counts.found} truths found, ${counts.missed} missed, ${counts.false} detections false.` : "No pairs here."}`);
    [state.chosen, state.hover, step] = [null, null, -1];
    by("v-size").textContent = `${frame().nx} \u00d7 ${frame().ny} px${frame().factor > 1 ? `, picture averaged over ${frame().factor} \u00d7 ${frame().factor}` : ""}${frame().image ? "" : ", no picture in the run"}`;
    if (counts) choose(null);
    else { say("The run has no pairs", "of this detector at this operating point here."); moved(); }
  };
  let wanted = 0;
  const show = async (index, then) => {
    const mine = ++wanted;
    state.index = index;
    by("v-frame").value = index;
    by("v-detector").value = state.detector;
    by("v-point").value = state.point;
    try {
      const got = await SD.frame(data, index);
      if (mine !== wanted) return; // another one was asked for meanwhile
      open = got;
      canvas.dataset.frame = frame().name;
      update();
      (then || fit)();
    } catch (error) {
      open = null;
      say("This frame cannot be shown:", String(error.message || error));
    }
  };

  // Goes to a place of the address: frame, x, y, zoom, detector, point, pick.
  const go = (query) => {
    const ask = new URLSearchParams(query);
    const index = data.frames.findIndex((f) => f.name === ask.get("frame"));
    if (index < 0) { say("That frame is not in the viewer:", ask.get("frame") || "none named"); return false; }
    const find = (list, name, old) => (list.indexOf(name) < 0 ? old : list.indexOf(name));
    state.detector = find(data.detectors, ask.get("detector"), state.detector);
    state.point = find(data.points.map((p) => p[0]), ask.get("point"), state.point);
    const read = (key) => (ask.get(key) === null || ask.get(key) === "" ? NaN : Number(ask.get(key)));
    const [x, y, zoom] = [read("x"), read("y"), read("zoom")];
    show(index, () => {
      if (!Number.isFinite(x) || !Number.isFinite(y)) { fit(); return; }
      [view.x, view.y] = [x, y];
      view.zoom = clamp(Number.isFinite(zoom) ? zoom : 4, fitting() / 2, 48);
      if (ask.get("pick")) {
        const only = Object.fromEntries(SD.CLASSES.map((c) => [c.key, c.truth === (ask.get("pick") === "truth")]));
        const pick = SD.nearest(open, { ...state, show: only }, view, view.width / 2, view.height / 2, 2 * view.zoom);
        if (pick) choose(pick, false);
      }
      moved();
    });
    return true;
  };
  const follow = () => {
    if (!location.hash.startsWith("#view&")) return false;
    const there = go(location.hash.slice(6));
    by("viewer").querySelector("details.fold").open = true;
    by("viewer").scrollIntoView();
    canvas.focus({ preventScroll: true });
    return there;
  };
  SD.has = (name) => data.frames.some((f) => f.name === name);

  // Pointer: one drags, two pinch, a tap chooses, hovering tells.
  const tip = by("v-tip");
  const hideTip = () => { tip.hidden = true; state.hover = null; };
  const at = (event) => { const box = canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
  const pointers = new Map();
  let travelled = 0;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    if (!pointers.size) travelled = 0;
    pointers.set(event.pointerId, at(event));
    try { canvas.setPointerCapture(event.pointerId); } catch { /* gone already */ }
    canvas.focus({ preventScroll: true });
  });
  canvas.addEventListener("pointermove", (event) => {
    const now = at(event);
    readout(now);
    const before = pointers.get(event.pointerId);
    if (!before) { hover(now, event.pointerType); return; }
    touched = true;
    const others = [...pointers].filter(([id]) => id !== event.pointerId);
    pointers.set(event.pointerId, now);
    travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
    if (others.length) {
      const still = others[0][1];
      const far = (p) => Math.max(10, Math.hypot(p[0] - still[0], p[1] - still[1]));
      zoomBy(far(now) / far(before), (now[0] + still[0]) / 2, (now[1] + still[1]) / 2);
      travelled += 10;
    } else if (travelled > 4) {
      view.x -= (now[0] - before[0]) / view.zoom;
      view.y += (now[1] - before[1]) / view.zoom;
      moved();
    }
  });
  const lift = (event) => {
    const was = pointers.delete(event.pointerId);
    if (event.type === "pointerup" && was && !pointers.size && travelled <= 4 && open) {
      touched = true;
      choose(SD.nearest(open, state, view, ...at(event), event.pointerType === "touch" ? 22 : 12));
    }
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => { hideTip(); by("v-readout").textContent = ""; redraw(); });
  canvas.addEventListener("dblclick", (event) => { touched = true; zoomBy(2, ...at(event)); });
  canvas.addEventListener("wheel", (event) => {
    // A page that scrolls past must not be caught: the wheel zooms once the frame is chosen.
    if (document.activeElement !== canvas && !event.ctrlKey) return;
    event.preventDefault();
    touched = true;
    const lines = event.deltaMode === 1 ? 30 : 1;
    zoomBy(Math.exp(-clamp(event.deltaY * lines, -300, 300) / (event.ctrlKey ? 150 : 400)), ...at(event));
  }, { passive: false });

  const readout = ([u, v]) => {
    const [x, y] = view.toFrame(u, v);
    const { nx, ny, factor } = frame();
    let text = `x ${SD.number(x, 1)}, y ${SD.number(y, 1)} px`;
    if (open && open.image && x >= -0.5 && y >= -0.5 && x < nx - 0.5 && y < ny - 0.5) {
      const [i, j] = [Math.floor((x + 0.5) / factor), Math.floor((ny - 0.5 - y) / factor)];
      const grey = open.image.grey[j * open.image.width + i];
      const sigma = SD.number(scale.toSigma(grey / 255), 1);
      const there = open.layers.filter((l) => l.grey[Math.floor((ny - 0.5 - y) / l.factor) * l.width + Math.floor((x + 0.5) / l.factor)]);
      text += `, ${grey >= 254 ? "\u2265 " : grey <= 1 ? "\u2264 " : "\u2248 "}${sigma} \u03c3${there.map((l) => ({ mask: ", masked", area: ", ignored" })[l.key]).join("")}`;
    }
    by("v-readout").textContent = text;
  };
  const hover = ([u, v], type) => {
    if (!open || type === "touch") return;
    const pick = SD.nearest(open, state, view, u, v, 10);
    if (!pick) { if (state.hover) { hideTip(); redraw(); } return; }
    state.hover = pick;
    const facts = SD.facts(open, data, state, pick);
    tip.replaceChildren(SD.make("b", facts.title), SD.make("br"), facts.text, SD.make("br"), facts.more);
    tip.hidden = false;
    const [width, height] = [tip.offsetWidth, tip.offsetHeight];
    tip.style.left = `${clamp(u + 16 + width > view.width ? u - width - 16 : u + 16, 4, Math.max(4, view.width - width - 4))}px`;
    tip.style.top = `${clamp(v + 16 + height > view.height ? v - height - 16 : v + 16, 4, Math.max(4, view.height - height - 4))}px`;
    redraw();
  };

  const press = {
    ArrowLeft: () => { view.x -= view.width / 8 / view.zoom; moved(); },
    ArrowRight: () => { view.x += view.width / 8 / view.zoom; moved(); },
    ArrowUp: () => { view.y += view.height / 8 / view.zoom; moved(); },
    ArrowDown: () => { view.y -= view.height / 8 / view.zoom; moved(); },
    "+": () => zoomBy(1.5), "=": () => zoomBy(1.5), "-": () => zoomBy(1 / 1.5), "0": () => fit(),
    n: () => nextMistake(1), p: () => nextMistake(-1),
    i: () => { by("v-invert").click(); },
    "[": () => turn(-1), "]": () => turn(1),
    Escape: () => choose(null),
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !press[event.key] || !open) return;
    event.preventDefault();
    touched = true;
    press[event.key]();
  });

  // The controls.
  const turn = (by_) => { touched = true; show((state.index + by_ + data.frames.length) % data.frames.length); };
  const fill = (id, entries, act) => {
    by(id).replaceChildren(...entries.map(([value, text]) => SD.make("option", text, { value })));
    by(id).addEventListener("change", () => { touched = true; act(Number(by(id).value)); });
  };
  const several = new Set(data.frames.map((f) => f.group)).size > 1;
  fill("v-frame", data.frames.map((f, i) => [i, several && f.group && !f.name.startsWith(f.group) ? `${f.name} (${f.group})` : f.name]), (i) => show(i));
  fill("v-detector", data.detectors.map((d, i) => [i, d]), (i) => { state.detector = i; if (open) update(); });
  fill("v-point", data.points.map((p, i) => [i, p[1]]), (i) => { state.point = i; if (open) update(); });
  by("v-before").addEventListener("click", () => turn(-1));
  by("v-after").addEventListener("click", () => turn(1));
  for (const [id, act] of [["v-in", () => zoomBy(1.5)], ["v-out", () => zoomBy(1 / 1.5)], ["v-fit", fit], ["v-next", () => nextMistake(1)]]) {
    by(id).addEventListener("click", () => { touched = true; if (open) act(); });
  }
  for (const c of SD.CLASSES) {
    const box = by(`v-show-${c.key}`);
    box.checked = state.show[c.key]; // a reload may have kept an older state
    box.addEventListener("change", () => { state.show[c.key] = box.checked; step = -1; moved(); });
  }
  for (const key of Object.keys(SD.LAYERS)) {
    const box = by(`v-layer-${key}`);
    if (!box) continue; // no frame has one
    box.checked = state.layers[key];
    box.addEventListener("change", () => { state.layers[key] = box.checked; redraw(); });
  }
  const restretch = () => {
    const look = state.look;
    by("v-black").value = look.black;
    by("v-white").value = look.white;
    by("v-mode").value = look.mode;
    by("v-invert").checked = look.invert;
    for (const key of ["black", "white"]) {
      const text = `${SD.number(scale.toSigma(look[key] / 255), 1)} \u03c3`;
      by(`v-${key}-at`).textContent = text;
      by(`v-${key}`).setAttribute("aria-valuetext", text);
    }
    redraw();
  };
  by("v-black").addEventListener("input", () => { state.look.black = Math.min(Number(by("v-black").value), state.look.white - 1); restretch(); });
  by("v-white").addEventListener("input", () => { state.look.white = Math.max(Number(by("v-white").value), state.look.black + 1); restretch(); });
  by("v-mode").addEventListener("change", () => { state.look.mode = by("v-mode").value; restretch(); });
  by("v-invert").addEventListener("change", () => { state.look.invert = by("v-invert").checked; restretch(); });
  by("v-plain").addEventListener("click", () => { state.look = { ...LOOK }; restretch(); });
  by("v-sources").addEventListener("toggle", listSoon);

  by("viewer-off").hidden = true;
  by("viewer-on").hidden = false;
  const resize = () => {
    const box = stage.getBoundingClientRect();
    const [width, height] = [Math.max(50, box.width), Math.max(50, box.height)];
    const fitted = view.width > 1 && Math.abs(view.zoom - fitting()) < 1e-9;
    const first = view.width === 1;
    [view.width, view.height] = [width, height];
    const ratio = window.devicePixelRatio || 1;
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    if ((fitted || first) && open) fit();
    paint(); // a canvas is emptied by its new size: not one frame of nothing
  };
  resize();
  new ResizeObserver(resize).observe(stage);
  restretch();
  addEventListener("hashchange", follow);
  if (!follow()) show(0);
})();
