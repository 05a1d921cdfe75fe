"use strict";
// What the viewer says of a source, in words and as rows of a table.
(() => {
  const SD = window.skyduel;
  const MOST_ROWS = 200;
  const number = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits).replace("-", "\u2212") : "\u2013");
  SD.number = number;

  SD.make = (tag, text, properties) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    return Object.assign(element, properties);
  };

  const tableOf = (open, state, pick) => (pick.truth ? open.tables[0] : open.tables[state.detector + 1]);
  SD.tableOf = tableOf;
  const codeOf = (pair, pick) => (pair ? (pick.truth ? pair.truth : pair.found)[pick.row] : SD.ABSENT);
  SD.classOf = (open, state, pick) => {
    const code = codeOf(SD.pair(open, state.detector, state.point), pick);
    return SD.CLASSES.find((c) => c.truth === pick.truth && c.code === code);
  };
  const kindOf = (open, state, pick, data) => {
    const pair = SD.pair(open, state.detector, state.point);
    const kind = pair && pair.kinds.get((pick.truth ? "t" : "f") + pick.row);
    return kind && (data.kinds[(pick.truth ? "missed-" : "false-") + kind] || kind);
  };
  const apart = (open, state, truth, found) => {
    const [a, b] = [open.tables[0], open.tables[state.detector + 1]];
    return Math.hypot(a.x[truth] - b.x[found], a.y[truth] - b.y[found]);
  };

  // One sentence or two: what it is, where, how bright, and what others made of it.
  SD.facts = (open, data, state, pick) => {
    const table = tableOf(open, state, pick);
    const cls = SD.classOf(open, state, pick);
    const pair = SD.pair(open, state.detector, state.point);
    const i = pick.row;
    const name = cls ? cls.one : pick.truth ? "truth" : "detection below the threshold";
    const shape = table.streak[i] ? `streak ${number(table.length[i], 0)} px long` : "point";
    const said = [
      `x ${number(table.x[i], 1)}, y ${number(table.y[i], 1)} px`,
      `${pick.truth ? "mag" : "aperture mag"} ${number(table.mag[i], 2)}`,
      `${pick.truth ? "S/N" : "aperture S/N"} ${number(table.snr[i], 1)}`,
    ];
    if (!pick.truth) said.push(`score ${number(table.score[i], 3)}`);
    said.push(shape);
    const kind = kindOf(open, state, pick, data);
    if (kind) said.push(`kind of mistake: ${kind.toLowerCase()}`);
    const more = [];
    if (pick.truth && pair && pair.partner[i] !== data.nowhere) {
      more.push(`Its detection lies ${number(apart(open, state, i, pair.partner[i]), 2)} px away.`);
    }
    if (!pick.truth && pair && pair.source[i] >= 0) {
      more.push(`Its truth lies ${number(apart(open, state, pair.source[i], i), 2)} px away, mag ${number(open.tables[0].mag[pair.source[i]], 2)}.`);
    }
    if (pick.truth) {
      const others = data.detectors.map((detector, d) => {
        const other = d === state.detector ? null : SD.pair(open, d, state.point);
        return other && other.truth[i] ? `${detector}: ${["", "found", "missed", "ignored"][other.truth[i]]}` : "";
      }).filter(Boolean);
      if (others.length) more.push(`${others.join(", ")}.`);
    }
    return { title: name[0].toUpperCase() + name.slice(1), text: `${said.join(", ")}.`, more: more.join(" ") };
  };

  SD.counts = (open, state) => {
    const n = Object.fromEntries(SD.CLASSES.map((c) => [c.key, 0]));
    const pair = SD.pair(open, state.detector, state.point);
    if (!pair) return null;
    for (const c of SD.CLASSES) for (const code of c.truth ? pair.truth : pair.found) n[c.key] += code === c.code;
    return n;
  };

  // The mistakes that are switched on, brightest first: what "next" steps through.
  SD.mistakes = (open, state) => {
    const list = [];
    SD.marks(open, state, (cls, table, i) => {
      if (cls.key === "missed" || cls.key === "false") list.push({ truth: cls.truth, row: i, mag: table.mag[i] });
    });
    const rank = (m) => (Number.isFinite(m) ? m : Infinity);
    return list.sort((a, b) => (rank(a.mag) === rank(b.mag) ? 0 : rank(a.mag) - rank(b.mag)));
  };

  SD.fillTable = (body, caption, open, data, state, view, choose) => {
    const list = [];
    SD.marks(open, state, (cls, table, i) => {
      const [x, y] = view.toScreen(table.x[i], table.y[i]);
      if (x >= 0 && x <= view.width && y >= 0 && y <= view.height) list.push({ cls, truth: cls.truth, row: i, mag: table.mag[i] });
    });
    const order = ["missed", "false", "found", "right", "tignored", "dignored"];
    const rank = (e) => [order.indexOf(e.cls.key), Number.isFinite(e.mag) ? e.mag : Infinity];
    list.sort((a, b) => { const [p, q] = [rank(a), rank(b)]; return p[0] - q[0] || (p[1] === q[1] ? 0 : p[1] - q[1]); });
    const shown = list.slice(0, MOST_ROWS);
    caption.textContent = `Sources in view: ${list.length}${list.length > shown.length ? `, the first ${shown.length} listed` : ""}`;
    body.replaceChildren(...shown.map((pick) => {
      const table = tableOf(open, state, pick);
      const row = document.createElement("tr");
      const head = SD.make("th", undefined, { scope: "row" });
      const button = SD.make("button", pick.cls.one, { type: "button" });
      button.addEventListener("click", () => choose(pick));
      head.append(button);
      row.append(head);
      const cells = [number(table.x[pick.row], 1), number(table.y[pick.row], 1), number(table.mag[pick.row], 2), number(table.snr[pick.row], 1), number(table.score[pick.row], 3)];
      for (const cell of cells) row.append(SD.make("td", cell));
      row.append(SD.make("td", table.streak[pick.row] ? "streak" : "point", { className: "t" }), SD.make("td", kindOf(open, state, pick, data) || "", { className: "t" }));
      return row;
    }));
    if (!shown.length) body.append(SD.make("tr"));
  };
})();
