"use strict";
// Drawing a frame: its stretched picture, and the marks of truths and detections.
(() => {
  const SD = window.skyduel;

  // Previews hold u in 0 ... 1, an asinh stretch of s [sigma of the sky].
  SD.scale = ([low, high]) => {
    const [a, b] = [Math.asinh(low), Math.asinh(high)];
    return { toSigma: (u) => Math.sinh(a + u * (b - a)), fromSigma: (s) => (Math.asinh(s) - a) / (b - a) };
  };

  SD.curve = (stretch, { black, white, mode, invert }) => {
    const scale = SD.scale(stretch);
    const table = new Uint8ClampedArray(256);
    const value = mode === "linear" ? scale.toSigma : (u) => u;
    const [low, high] = [value(black / 255), value(Math.max(white, black + 1) / 255)];
    for (let i = 0; i < 256; i++) {
      const t = (value(i / 255) - low) / (high - low);
      table[i] = Math.round(255 * (invert ? 1 - t : t));
    }
    return table;
  };

  let kept = { key: null, canvas: null };
  const stretched = (open, stretch, look) => {
    const key = [open.frame.index, look.black, look.white, look.mode, look.invert].join();
    if (kept.key === key) return kept.canvas;
    const { width, height, grey } = open.image;
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(width, height);
    const out = new Uint32Array(pixels.data.buffer);
    const table = SD.curve(stretch, look);
    const colors = Uint32Array.from(table, (v) => (255 << 24) | (v << 16) | (v << 8) | v);
    for (let i = 0; i < grey.length; i++) out[i] = colors[grey[i]];
    context.putImageData(pixels, 0, 0);
    kept = { key, canvas };
    return canvas;
  };

  const shapes = {
    found: (c, x, y, r) => { c.moveTo(x + r, y); c.arc(x, y, r, 0, 7); },
    missed: (c, x, y, r) => c.rect(x - r, y - r, 2 * r, 2 * r),
    false: (c, x, y, r) => { const q = r * 0.8; c.moveTo(x - q, y - q); c.lineTo(x + q, y + q); c.moveTo(x + q, y - q); c.lineTo(x - q, y + q); },
    right: (c, x, y, r) => { const q = r * 0.55; c.moveTo(x - q, y); c.lineTo(x + q, y); c.moveTo(x, y - q); c.lineTo(x, y + q); },
    ignored: (c, x, y) => c.rect(x - 0.8, y - 0.8, 1.6, 1.6),
  };
  const dashes = { missed: [3, 2], ignored: [1, 3] };

  // Calls visit(class, table, row) for every mark that is switched on.
  SD.marks = (open, state, visit) => {
    const pair = SD.pair(open, state.detector, state.point);
    if (!pair) return;
    for (const cls of SD.CLASSES) {
      if (!state.show[cls.key]) continue;
      const table = cls.truth ? open.tables[0] : open.tables[state.detector + 1];
      const codes = cls.truth ? pair.truth : pair.found;
      for (let i = 0; i < table.n; i++) if (codes[i] === cls.code) visit(cls, table, i);
    }
  };

  SD.draw = (canvas, open, data, state, view, colors) => {
    const ratio = canvas.width / view.width;
    const c = canvas.getContext("2d");
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.fillStyle = "#16181b";
    c.fillRect(0, 0, canvas.width, canvas.height);
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { nx, ny, factor } = open.frame;
    const [left, top] = view.toScreen(-0.5, ny - 0.5);
    if (open.image) {
      c.imageSmoothingEnabled = view.zoom * factor < 1.5;
      c.imageSmoothingQuality = "high";
      const side = factor * view.zoom;
      c.drawImage(stretched(open, data.stretch, state.look), left, top, open.image.width * side, open.image.height * side);
    }
    c.imageSmoothingEnabled = false;
    for (const layer of open.layers) {
      if (!state.layers[layer.key]) continue;
      const side = layer.factor * view.zoom;
      c.drawImage(layer.canvas, left, top, layer.width * side, layer.height * side);
    }
    c.strokeStyle = "#5a626c";
    c.lineWidth = 1;
    c.strokeRect(left, top, nx * view.zoom, ny * view.zoom);

    const size = Math.min(9, Math.max(3.2, 2.4 * view.zoom));
    const paths = new Map();
    SD.marks(open, state, (cls, table, i) => {
      if (!paths.has(cls)) paths.set(cls, [new Path2D(), new Path2D()]);
      const [x, y] = view.toScreen(table.x[i], table.y[i]);
      const half = table.streak[i] ? (table.length[i] / 2) * view.zoom : 0;
      if (!(x + half > -20 && x - half < view.width + 20 && y + half > -20 && y - half < view.height + 20)) return;
      if (half > size) {
        const [dx, dy] = [half * Math.cos(table.theta[i]), -half * Math.sin(table.theta[i])];
        paths.get(cls)[1].moveTo(x - dx, y - dy);
        paths.get(cls)[1].lineTo(x + dx, y + dy);
      } else shapes[cls.mark](paths.get(cls)[0], x, y, size);
    });
    for (const [cls, [points, lines]] of paths) {
      // A dark rim keeps the marks legible on white stars and on an inverted sky.
      c.setLineDash([]);
      c.strokeStyle = "rgba(0, 0, 0, 0.55)";
      c.lineWidth = 3.2;
      c.stroke(points);
      c.lineWidth = 4;
      c.stroke(lines);
      c.strokeStyle = colors[cls.mark];
      c.lineWidth = 1.5;
      c.stroke(points);
      c.setLineDash(dashes[cls.mark] || []);
      c.lineWidth = 2;
      c.stroke(lines);
    }
    c.setLineDash([]);
    for (const [pick, style, width] of [[state.hover, "#ffffff", 1.5], [state.chosen, "#000000", 5], [state.chosen, "#ffffff", 2]]) {
      if (!pick) continue;
      const table = pick.truth ? open.tables[0] : open.tables[state.detector + 1];
      const [x, y] = view.toScreen(table.x[pick.row], table.y[pick.row]);
      c.strokeStyle = style;
      c.lineWidth = width;
      c.beginPath();
      for (const [u, v] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        c.moveTo(x + u * (size + 4), y + v * (size + 4));
        c.lineTo(x + u * (size + 14), y + v * (size + 14));
      }
      c.stroke();
    }
  };

  // The mark nearest to a place on the screen, no further than `reach` [screen px].
  SD.nearest = (open, state, view, px, py, reach) => {
    let best = null;
    let least = reach;
    SD.marks(open, state, (cls, table, i) => {
      const [x, y] = view.toScreen(table.x[i], table.y[i]);
      let [dx, dy] = [px - x, py - y];
      if (table.streak[i]) {
        const half = (table.length[i] / 2) * view.zoom;
        const [ux, uy] = [Math.cos(table.theta[i]), -Math.sin(table.theta[i])];
        const along = Math.max(-half, Math.min(half, dx * ux + dy * uy));
        [dx, dy] = [dx - along * ux, dy - along * uy];
      }
      const far = Math.hypot(dx, dy);
      if (far < least) [best, least] = [{ cls, truth: cls.truth, row: i }, far];
    });
    return best;
  };
})();
