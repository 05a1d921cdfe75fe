"use strict";
// Reading the viewer's data: `reports/viewer.py` writes it and says how it is packed.
(() => {
  const SD = (window.skyduel = window.skyduel || {});
  const [ABSENT, RIGHT, WRONG, IGNORED] = [0, 1, 2, 3];

  // What can be switched on and off, in the order of drawing.
  SD.CLASSES = [
    { key: "tignored", label: "Truth ignored", one: "ignored truth", truth: true, code: IGNORED, mark: "ignored", on: false },
    { key: "dignored", label: "Detection ignored", one: "ignored detection", truth: false, code: IGNORED, mark: "ignored", on: false },
    { key: "found", label: "Truth found", one: "found truth", truth: true, code: RIGHT, mark: "found", on: true },
    { key: "right", label: "Detection right", one: "right detection", truth: false, code: RIGHT, mark: "right", on: true },
    { key: "missed", label: "Truth missed", one: "missed truth", truth: true, code: WRONG, mark: "missed", on: true },
    { key: "false", label: "Detection false", one: "false detection", truth: false, code: WRONG, mark: "false", on: true },
  ];

  SD.load = (id) => {
    const data = JSON.parse(document.getElementById(id).textContent);
    data.frames.forEach((frame, i) => { frame.index = i; });
    return data;
  };

  const inflate = async (text) => {
    const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  };

  const picture = (reference) => new Promise((resolve, reject) => {
    if (!reference) { resolve(null); return; }
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      const context = canvas.getContext("2d", { willReadFrequently: true });
      context.drawImage(image, 0, 0);
      const rgba = context.getImageData(0, 0, canvas.width, canvas.height).data;
      const grey = new Uint8Array(rgba.length / 4);
      for (let i = 0; i < grey.length; i++) grey[i] = rgba[4 * i];
      resolve({ width: canvas.width, height: canvas.height, grey });
    };
    image.onerror = () => reject(new Error("its picture cannot be read"));
    image.src = reference.startsWith("#") ? document.querySelector(reference).getAttribute("href") : reference;
  });

  // The arrays of a frame, as reports/viewer.py lays them one after the other.
  SD.unpack = (buffer, kinds, frame, data) => {
    let at = 0;
    const bytes = new Uint8Array(buffer);
    // All first bytes of an array come before all second ones.
    const take = (Kind, n) => {
      const size = Kind.BYTES_PER_ELEMENT;
      const out = new Uint8Array(n * size);
      for (let b = 0; b < size; b++) for (let i = 0; i < n; i++) out[i * size + b] = bytes[at++];
      return new Kind(out.buffer);
    };
    const real = (codes, step, zero) => {
      const out = new Float64Array(codes.length);
      for (let i = 0; i < out.length; i++) out[i] = codes[i] === data.nowhere ? NaN : codes[i] * step - zero;
      return out;
    };
    const tables = frame.rows.map((n) => ({ n, snr: take(Float32Array, n), score: take(Float32Array, n) }));
    for (const t of tables) {
      t.x = real(take(Uint16Array, t.n), frame.step, data.margin);
      t.y = real(take(Uint16Array, t.n), frame.step, data.margin);
      t.mag = real(take(Uint16Array, t.n), 0.001, 15);
      t.length = real(take(Uint16Array, t.n), 0.1, 0);
      t.theta = real(take(Uint16Array, t.n), Math.PI / (data.nowhere - 1), 0);
    }
    const pairs = frame.has.map(([detector, point]) => ({ detector, point, partner: take(Uint16Array, tables[0].n), kinds: new Map() }));
    for (const t of tables) t.streak = take(Uint8Array, t.n);
    for (const p of pairs) {
      p.truth = take(Uint8Array, tables[0].n);
      p.found = take(Uint8Array, tables[p.detector + 1].n);
      p.source = new Int32Array(tables[p.detector + 1].n).fill(-1);
      p.partner.forEach((row, i) => { if (row !== data.nowhere) p.source[row] = i; });
    }
    if (at !== buffer.byteLength) throw new Error("its catalogues are not as long as they should be");
    for (const [detector, point, truth, row, kind] of kinds) {
      const pair = pairs.find((p) => p.detector === detector && p.point === point);
      if (pair) pair.kinds.set((truth ? "t" : "f") + row, kind);
    }
    return { tables, pairs };
  };

  // A layer is white where pixels are masked; it is drawn in one colour, half transparent.
  SD.LAYERS = { mask: [230, 90, 255, 110], area: [255, 150, 30, 110] };
  const layer = async (key, { factor, image }) => {
    const got = await picture(image);
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [got.width, got.height];
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(got.width, got.height);
    got.grey.forEach((value, i) => { if (value) pixels.data.set(SD.LAYERS[key], 4 * i); });
    context.putImageData(pixels, 0, 0);
    return { ...got, key, factor, canvas };
  };

  const ready = new Map();
  SD.frame = (data, index) => {
    if (!ready.has(index)) {
      const frame = data.frames[index];
      ready.set(index, (async () => {
        const [buffer, packed, image, ...layers] = await Promise.all([inflate(frame.data), inflate(frame.kinds), picture(frame.image),
          ...Object.entries(frame.layers).map(([key, one]) => layer(key, one))]);
        const kinds = JSON.parse(new TextDecoder().decode(packed));
        return { ...SD.unpack(buffer, kinds, frame, data), image, layers, frame };
      })());
      // Pictures are large: only the last few frames stay unpacked.
      if (ready.size > 4) ready.delete(ready.keys().next().value);
    }
    return ready.get(index);
  };
  SD.pair = (open, detector, point) => open.pairs.find((p) => p.detector === detector && p.point === point);
  SD.ABSENT = ABSENT;
})();
