"use strict";
// The first figure: completeness and purity by magnitude, drawn again at every choice.
(() => {
  const by = (id) => document.getElementById(id);
  const data = JSON.parse(by("answer-data").textContent);
  const plot = by("a-plot");
  if (!plot || !data.bins.length) return;
  const NS = Object.assign(document.createElement("template"), { innerHTML: "<svg>" }).content.firstChild.namespaceURI;
  const state = { group: 0, point: data.start, off: new Set(), bin: -1 };
  const make = (tag, attributes = {}, text = "") => {
    const element = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = text;
    return element;
  };
  const html = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

  const shapes = {
    o: (r) => `M0 ${r}a${r} ${r} 0 1 1 .01 0z`,
    s: (r) => `M${-r} ${-r}h${2 * r}v${2 * r}h${-2 * r}z`,
    "^": (r) => `M0 ${-r}L${r} ${r}H${-r}z`,
    v: (r) => `M0 ${r}L${r} ${-r}H${-r}z`,
    D: (r) => `M0 ${-1.2 * r}L${1.2 * r} 0L0 ${1.2 * r}L${-1.2 * r} 0z`,
  };
  const shape = (marker, r) => (shapes[marker] || shapes.o)(r);

  const first = data.bins[0][0];
  const last = data.bins[data.bins.length - 1][1];
  const shown = () => data.detectors.map((d, i) => i).filter((i) => !state.off.has(i));
  const row = (q, d) => data.values[state.group][state.point][q][d];

  const panel = (q, width) => {
    const [label, axis] = data.quantities[q];
    const [left, right, top, bottom] = [46, 10, 24, 40];
    const height = Math.max(200, Math.min(280, width * 0.6));
    const x = (m) => left + ((m - first) / (last - first)) * (width - left - right);
    const y = (v) => top + (1.02 - v) / 1.04 * (height - top - bottom);
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "img", class: "a-panel",
      "aria-label": `${label} against magnitude. Left and right arrow keys choose a bin; its values are written below.` });
    svg.append(make("text", { x: left, y: 14, class: "a-title" }, label));
    for (const v of [0, 0.2, 0.4, 0.6, 0.8, 1]) {
      svg.append(make("line", { x1: left, x2: width - right, y1: y(v), y2: y(v), class: v ? "a-grid" : "a-axis" }));
      svg.append(make("text", { x: left - 7, y: y(v) + 4, "text-anchor": "end" }, v.toFixed(1)));
    }
    const edges = [...data.bins.map((b) => b[0]), last];
    const every = Math.ceil(edges.length / Math.max(2, Math.floor((width - left) / 42)));
    edges.forEach((m, i) => {
      if (i % every) return;
      svg.append(make("line", { x1: x(m), x2: x(m), y1: y(-0.02), y2: y(-0.02) + 4, class: "a-axis" }));
      svg.append(make("text", { x: x(m), y: y(-0.02) + 17, "text-anchor": "middle" }, String(m)));
    });
    svg.append(make("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, `${axis} magnitude [mag]`));
    if (state.bin >= 0) {
      const [lo, hi] = data.bins[state.bin];
      svg.append(make("rect", { x: x(lo), width: x(hi) - x(lo), y: y(1.02), height: y(-0.02) - y(1.02), class: "a-bin" }));
    }
    const list = shown();
    list.forEach((d, k) => {
      const [, color, marker] = data.detectors[d];
      const points = row(q, d).map((cell, b) => {
        if (!cell) return null;
        const [lo, hi] = data.bins[b];
        const shift = (k - (list.length - 1) / 2) * Math.min(0.13, 0.6 / list.length) * (hi - lo);
        return [x((lo + hi) / 2 + shift), ...cell];
      });
      const path = points.map((p, b) => (p ? `${b && points[b - 1] ? "L" : "M"}${p[0].toFixed(1)} ${y(p[1]).toFixed(1)}` : "")).join("");
      svg.append(make("path", { d: path, fill: "none", stroke: color, "stroke-opacity": 0.6 }));
      for (const p of points) {
        if (!p) continue;
        const [u, value, lo, hi, n] = p;
        const few = n < data.few;
        const g = make("g", { opacity: few ? 0.5 : 1 });
        if (lo !== null && hi !== null) g.append(make("line", { x1: u, x2: u, y1: y(lo), y2: y(hi), stroke: color, "stroke-width": 1.3 }));
        g.append(make("path", { d: shape(marker, 4), transform: `translate(${u} ${y(value)})`, fill: few ? "var(--paper)" : color, stroke: color }));
        svg.append(g);
      }
    });
    const at = (event) => {
      const box = svg.getBoundingClientRect();
      const m = first + ((event.clientX - box.left) * width / box.width - left) / (width - left - right) * (last - first);
      return data.bins.findIndex(([lo, hi]) => m >= lo && m < hi);
    };
    const choose = (bin) => { if (bin !== state.bin) { state.bin = bin; draw(); } };
    svg.addEventListener("pointermove", (event) => choose(at(event)));
    svg.addEventListener("pointerdown", (event) => choose(at(event)));
    svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step) return;
      event.preventDefault();
      state.bin = Math.min(data.bins.length - 1, Math.max(0, state.bin < 0 ? 0 : state.bin + step));
      draw();
      by("a-panels").children[q].focus();
    });
    return svg;
  };

  const said = () => {
    if (state.bin < 0) return "Point at a bin, or focus a panel and use the arrow keys, to read its values.";
    const [lo, hi] = data.bins[state.bin];
    const parts = data.quantities.map(([label, , counted], q) => {
      const values = shown().map((d) => {
        const cell = row(q, d)[state.bin];
        if (!cell) return `${data.detectors[d][0]} \u2013`;
        const [value, low, high, n] = cell;
        const ends = low === null ? "" : ` [${low.toFixed(2)}, ${high.toFixed(2)}]`;
        return `${data.detectors[d][0]} ${value.toFixed(3)}${ends} of ${n} ${counted}`;
      });
      return `${label}: ${values.join("; ")}.`;
    });
    return `${data.labels[state.bin]} mag. ${parts.join(" ")}`;
  };

  const draw = () => {
    const whole = by("a-panels").clientWidth || 900;
    const width = whole < 640 ? whole : Math.floor((whole - 16) / 2);
    by("a-panels").replaceChildren(...data.quantities.map((_, q) => panel(q, width)));
    by("a-said").textContent = said();
  };

  data.detectors.forEach(([name, color, marker], i) => {
    const label = html("label", { className: "a-detector" });
    const box = html("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => { state.off[box.checked ? "delete" : "add"](i); draw(); });
    const icon = make("svg", { viewBox: "-6 -6 12 12", width: 12, height: 12, "aria-hidden": "true" });
    icon.append(make("path", { d: shape(marker, 4), fill: color }));
    label.append(box, icon, document.createTextNode(` ${name}`));
    by("a-detectors").append(label);
  });
  for (const [id, names, key] of [["a-group", data.groups, "group"], ["a-point", data.points, "point"]]) {
    const select = by(id);
    select.append(...names.map((name, i) => html("option", { value: i, textContent: name })));
    select.value = state[key];
    select.addEventListener("change", () => { state[key] = Number(select.value); draw(); });
    select.parentElement.hidden = names.length < 2;
  }
  plot.hidden = false;
  by("a-static").hidden = true;
  draw();
  let width = by("a-panels").clientWidth;
  new ResizeObserver(() => {
    if (by("a-panels").clientWidth !== width) { width = by("a-panels").clientWidth; draw(); }
  }).observe(by("a-panels"));
})();
