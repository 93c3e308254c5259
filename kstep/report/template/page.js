// SPDX-License-Identifier: GPL-2.0-only
// Draws paths, rates and curves when they are first visible, compares two variants, moves through the
// map; all from the JSON in the page.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const KINDS = ["in program order", "in an interrupt", "elsewhere"];
const NEAR = 100; // steps to each side of the cursor, if only those near it are shown
const MANY = 400; // steps from which that is offered
const LANE = 15; // pixels

const colour = (name) => {
  const probe = document.createElement("i");
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
};
const colours = () => Object.fromEntries(
  ["ink", "faint", "line", "order", "interrupt", "elsewhere", "wrong", "link"]
    .map((name) => [name, colour(name)]));

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

// Replace what was drawn before; `ast`: expressions are interpreted, not compiled, because the
// page's policy forbids that.
async function show(canvas, former, spec) {
  if (former) former.finalize();
  const { view } = await vegaEmbed(canvas, spec, { mode: "vega", renderer: "svg", actions: false, ast: true, tooltip: false });
  return view;
}

// ---- the data of a path

function place(index) {
  const [fn, offset] = data.instructions[index];
  return data.functions[fn] + (offset ? `+0x${offset.toString(16)}` : "");
}

function source(index) {
  const line = data.instructions[index][3];
  return line < 0 ? "" : data.lines[line];
}

function understand(path) {
  const total = path.at.length;
  const kinds = new Uint8Array(total);
  path.spans.forEach(([from, kind], n) => {
    kinds.fill(kind, from, n + 1 < path.spans.length ? path.spans[n + 1][0] : total);
  });
  const left = new Map(path.left);
  const ends = new Set([...path.begins.slice(1), total].map((begin) => begin - 1));
  const lanes = [];
  const known = new Set();
  for (const index of path.at) {
    const fn = data.instructions[index][0];
    if (!known.has(fn)) { known.add(fn); lanes.push(data.functions[fn]); }
  }
  const name = (position) => data.functions[data.instructions[path.at[position]][0]];
  const runs = [];
  for (let position = 0; position < total; position++) {
    const last = runs[runs.length - 1];
    const continues = last && last.lane === name(position) && last.kind === kinds[position]
      && !ends.has(position - 1);
    if (continues) last.to = position + 1;
    else runs.push({ from: position, to: position + 1, lane: name(position), kind: kinds[position] });
  }
  const joins = [];
  runs.forEach((run, n) => {
    const next = runs[n + 1];
    if (next && !ends.has(run.to - 1) && next.lane !== run.lane) {
      joins.push({ x: run.to, from: run.lane, to: next.lane });
    }
  });
  const crosses = path.left.map(([position]) => ({ x: position + 1, lane: name(position) }));
  const steps = total - ends.size;
  return { ...path, total, kinds, left, ends, lanes, runs, joins, crosses, steps };
}

function number(path, position) {
  const begin = path.begins.findLast((first) => first <= position);
  const which = path.begins.length > 1 ? `path ${path.begins.indexOf(begin) + 1}, ` : "";
  return path.ends.has(position) ? `${which}end` : `${which}step ${position - begin + 1}`;
}

// ---- the picture of a path

function pathSpec(path, width, position, near) {
  const c = colours();
  const mono = "ui-monospace, DejaVu Sans Mono, monospace";
  const x = (field) => ({ scale: "x", field });
  return {
    width, height: path.lanes.length * LANE + 42, padding: 2,
    autosize: { type: "fit", contains: "padding" },
    signals: [
      { name: "cursor", value: position },
      { name: "shown", value: near ? [Math.max(0, position - NEAR), position + NEAR] : [0, path.total] },
    ],
    data: [
      { name: "runs", values: path.runs },
      { name: "joins", values: path.joins },
      { name: "crosses", values: path.crosses },
      { name: "begins", values: path.begins.slice(1).map((at) => ({ at })) },
    ],
    scales: [
      { name: "x", type: "linear", domain: { signal: "shown" }, range: "width", zero: false },
      { name: "y", type: "band", domain: path.lanes, range: "height", padding: 0.25 },
      { name: "line", type: "ordinal", domain: [0, 1, 2], range: [c.order, c.interrupt, c.elsewhere] },
      { name: "fill", type: "ordinal", domain: [0, 1, 2], range: [c.order, "transparent", "transparent"] },
    ],
    axes: [
      { orient: "left", scale: "y", ticks: false, domain: false, grid: true, gridColor: c.line,
        labelFont: mono, labelFontSize: 10.5, labelColor: c.ink, labelLimit: Math.min(210, width / 3), labelPadding: 6 },
      { orient: "bottom", scale: "x", format: "d", tickMinStep: 1, tickCount: Math.ceil(width / 90), title: "steps",
        titleFontWeight: "normal", titleColor: c.faint, labelColor: c.faint, domainColor: c.line, tickColor: c.line },
    ],
    marks: [{
      type: "group", clip: true,
      encode: { enter: { width: { signal: "width" }, height: { signal: "height" } } },
      marks: [
        { type: "rule", from: { data: "joins" }, encode: { update: {
          x: x("x"), y: { scale: "y", field: "from", band: 0.5 }, y2: { scale: "y", field: "to", band: 0.5 },
          stroke: { value: c.faint }, strokeOpacity: { value: 0.35 } } } },
        { type: "rule", from: { data: "begins" }, encode: { update: {
          x: x("at"), y: { value: 0 }, y2: { signal: "height" }, stroke: { value: c.ink }, strokeDash: { value: [2, 3] } } } },
        { type: "rect", from: { data: "runs" }, encode: { update: {
          x: x("from"), x2: x("to"), y: { scale: "y", field: "lane" }, height: { scale: "y", band: 1 },
          fill: { scale: "fill", field: "kind" }, stroke: { scale: "line", field: "kind" },
          strokeWidth: { signal: "datum.kind ? 1.5 : 0.5" }, strokeDash: { signal: "datum.kind == 2 ? [3, 2] : []" } } } },
        { type: "symbol", from: { data: "crosses" }, encode: { update: {
          x: x("x"), y: { scale: "y", field: "lane", band: 0.5 }, shape: { value: "cross" }, angle: { value: 45 },
          size: { value: 110 }, fill: { value: c.wrong } } } },
        { type: "rule", encode: { update: {
          x: { scale: "x", signal: "cursor + 0.5" }, y: { value: 0 }, y2: { signal: "height" },
          stroke: { value: c.ink }, strokeWidth: { value: 1.25 } } } },
      ],
    }],
  };
}

function drawWalk(box) {
  const path = understand(data.paths[Number(box.dataset.path)]);
  const first = path.left.size ? path.left.keys().next().value : 0;
  const here = element("output", { className: "here" });
  const canvas = element("div", { className: "canvas" });
  const slider = element("input", {
    type: "range", min: 0, max: path.total - 1, value: first, ariaLabel: "step" });
  const near = element("input", { type: "checkbox" });
  const left = path.left.size ? `; left program order at ${number(path, first)}` : "";
  const description = `${path.steps} steps through ${path.lanes.length} functions${left}`;
  const key = element("p", { className: "key" });
  for (const kind of new Set(path.kinds)) {
    key.append(element("span", {}, element("i", { className: `k${kind}` }), KINDS[kind]));
  }
  if (path.left.size) key.append(element("span", {}, element("i", { className: "x" }, "✕"), "left program order"));
  if (path.total > MANY) key.append(element("label", {}, near, ` only ${2 * NEAR} steps around the cursor`));
  box.replaceChildren(key, here, canvas, slider, listing(path), asText(path));

  let view;
  const tell = (position) => {
    const index = path.at[position];
    const parts = [number(path, position), place(index)];
    if (data.instructions[index][2]) parts.push(data.instructions[index][2]);
    if (source(index)) parts.push(source(index));
    parts.push(KINDS[path.kinds[position]]);
    here.replaceChildren(element("b", {}, parts[0]), `  ${parts.slice(1).join("  ·  ")}`);
    if (path.left.has(position)) {
      const why = path.left.get(position);
      here.append(element("span", { className: "out" },
        `  ✕ went to ${place(path.at[position + 1])}${why ? ` (${why})` : ""}`));
    }
  };
  const move = (position) => {
    const at = Math.max(0, Math.min(path.total - 1, position));
    slider.value = at;
    tell(at);
    if (!view) return;
    view.signal("cursor", at);
    if (near.checked) view.signal("shown", [Math.max(0, at - NEAR), Math.max(0, at - NEAR) + 2 * NEAR]);
    view.runAsync();
  };
  const draw = async () => {
    tell(Number(slider.value));
    const spec = pathSpec(path, canvas.clientWidth - 4, Number(slider.value), near.checked);
    view = await show(canvas, view, { description, ...spec });
    slider.style.marginLeft = `${view.origin()[0]}px`;
    slider.style.width = `${canvas.clientWidth - view.origin()[0]}px`;
  };
  const pointed = (event) => {
    if (!view) return Number(slider.value);
    const frame = canvas.querySelector("svg").getBoundingClientRect();
    const at = view.scale("x").invert(event.clientX - frame.left - view.origin()[0]);
    return Math.floor(at);
  };
  canvas.addEventListener("pointermove", (event) => { if (!near.checked) move(pointed(event)); });
  canvas.addEventListener("click", (event) => { move(pointed(event)); slider.focus(); });
  slider.addEventListener("input", () => move(Number(slider.value)));
  near.addEventListener("change", draw);
  draw();
  return draw;
}

// ---- the same as text

function later(className, title, fill) {
  const box = element("details", { className }, element("summary", {}, title));
  box.addEventListener("toggle", () => { if (box.open && box.children.length === 1) box.append(fill()); });
  return box;
}

function listing(path) {
  return later("listing", "the instructions, and how often each was stepped", () => {
    const counts = new Map();
    const out = new Set();
    path.at.forEach((index, position) => {
      counts.set(index, (counts.get(index) || 0) + !path.ends.has(position));
      if (path.left.has(position)) out.add(index);
    });
    const most = Math.max(...counts.values());
    const table = element("table");
    for (const lane of path.lanes) {
      const own = [...counts].filter(([index]) => data.functions[data.instructions[index][0]] === lane)
        .sort(([a], [b]) => data.instructions[a][1] - data.instructions[b][1]);
      const rows = element("tbody");
      rows.append(element("tr", {}, element("th", { colSpan: 5, scope: "rowgroup" }, lane)));
      let next = null;
      for (const [index, count] of own) {
        const [, offset, text] = data.instructions[index];
        if (next !== null && offset > next) {
          rows.append(element("tr", { className: "gap" }, element("td", { className: "count" }, "…")));
        }
        next = offset + 4;
        const bar = element("div");
        bar.style.width = `${100 * count / most}%`;
        rows.append(element("tr", { className: out.has(index) ? "out" : "" },
          element("td", { className: "count" }, count || "reached"),
          element("td", { className: "bar" }, count ? bar : ""),
          element("td", {}, `+0x${offset.toString(16)}`),
          element("td", {}, (out.has(index) ? "✕ " : "") + text),
          element("td", { className: "source" }, source(index))));
      }
      table.append(rows);
    }
    const scroll = element("div", { className: "scroll", tabIndex: 0 }, table);
    return scroll;
  });
}

function asText(path) {
  return later("aslist", "the steps, as text", () => {
    const executed = new Map(path.executed);
    const lines = path.at.map((index, position) => {
      const sign = path.left.has(position) ? "!" : [" ", "i", "e"][path.kinds[position]];
      const what = [number(path, position).padStart(10), place(index).padEnd(40), data.instructions[index][2].padEnd(36), source(index).padEnd(executed.size ? 36 : 0),
        executed.get(position) ?? ""];
      return `${sign} ${what.join("  ").trimEnd()}`;
    });
    return element("pre", { className: "steps", tabIndex: 0 }, lines.join("\n"));
  });
}

// ---- rates

function drawRates(box) {
  const { rows } = data.rates[Number(box.dataset.rates)];
  const canvas = element("div");
  box.replaceChildren(element("h5", {}, "how many passed, and the 95 % interval of the true rate"), canvas);
  const several = rows.some((row) => row.case);
  const lines = [];
  for (const row of rows) {
    if (several && lines[lines.length - 1]?.case !== row.case) lines.push({ key: `${row.case}\n`, case: row.case });
    lines.push({ ...row, key: `${row.case}\n${row.variant}`, text: `${row.passes} of ${row.total}` });
  }
  let view;
  const draw = async () => {
    const c = colours();
    const y = { scale: "y", field: "key", band: 0.5 };
    const width = Math.min(box.clientWidth - 4, 620);
    view = await show(canvas, view, {
      description: lines.filter((line) => line.variant)
        .map((line) => `${line.case} ${line.variant}: ${line.text}`.trim()).join("; "),
      width, height: lines.length * LANE + 34, padding: 2, autosize: { type: "fit", contains: "padding" },
      data: [{ name: "rows", values: lines.filter((line) => line.variant) }],
      scales: [
        { name: "x", type: "linear", domain: [0, 1], range: "width" },
        { name: "y", type: "band", domain: lines.map((line) => line.key), range: "height" },
      ],
      axes: [
        { orient: "left", scale: "y", ticks: false, domain: false, labelLimit: width / 2.5, labelFontSize: 10.5,
          labelFont: "ui-monospace, DejaVu Sans Mono, monospace", labelColor: c.ink, labelPadding: 6,
          encode: { labels: { update: {
            text: { signal: "split(datum.value, '\\n')[1] || split(datum.value, '\\n')[0]" },
            fontWeight: { signal: "split(datum.value, '\\n')[1] ? 'normal' : 'bold'" } } } } },
        { orient: "bottom", scale: "x", format: "%", tickCount: 5, grid: true, gridColor: c.line, labelColor: c.faint,
          domainColor: c.line, tickColor: c.line },
      ],
      marks: [
        { type: "rule", from: { data: "rows" }, encode: { update: {
          x: { scale: "x", field: "low" }, x2: { scale: "x", field: "high" }, y, stroke: { value: c.order },
          strokeWidth: { value: 2 } } } },
        { type: "symbol", from: { data: "rows" }, encode: { update: {
          x: { scale: "x", signal: "datum.passes / datum.total" }, y, size: { value: 45 }, fill: { value: c.order } } } },
        { type: "text", from: { data: "rows" }, encode: { update: {
          x: { scale: "x", signal: "datum.low > 0.2 ? datum.low : datum.high" }, dx: { signal: "datum.low > 0.2 ? -6 : 6" },
          align: { signal: "datum.low > 0.2 ? 'right' : 'left'" }, y, baseline: { value: "middle" },
          text: { field: "text" }, fill: { value: c.faint }, fontSize: { value: 10 } } } },
      ],
    });
  };
  draw();
  return draw;
}

// ---- a rate against the time of a step

function drawCurve(box) {
  const { points } = data.curves[Number(box.dataset.curve)];
  const variants = [...new Set(points.map((point) => point.variant))];
  const canvas = element("div");
  box.replaceChildren(element("h5", {}, "share of steps in a row that ended in a vector, and its 95 % interval, by the"
    + " guest's time a step; the line is the risk of one step at a random moment: its time by the timer's period"
    + (variants.length > 1 ? "; variants of a case stand side by side" : "")), canvas);
  const periods = [...new Set(points.map((point) => point.period))];
  const [least, most] = [Math.min, Math.max].map((of) => of(...points.map((point) => point.step)));
  // A step takes as long whatever the variant, so their points stand side by side.
  const dodged = points.map((point) => ({ ...point,
    aside: 8 * (variants.indexOf(point.variant) - (variants.length - 1) / 2) }));
  const line = periods.flatMap((period) => [...Array(41).keys()].map((n) => {
    const step = least / 2 * (most * 4 / least) ** (n / 40);
    return { period, step, share: Math.min(1, step / period) };
  }));
  let view;
  const draw = async () => {
    const c = colours();
    const width = Math.min(box.clientWidth - 4, 620);
    const x = { scale: "x", field: "step" };
    const aside = { ...x, offset: { field: "aside" } };
    const stroke = { scale: "colour", field: "variant" };
    view = await show(canvas, view, {
      description: points.map((point) => `${point.case} ${point.variant}: ${point.step} us a step, ${(100 * point.share).toFixed(1)} %`).join("; "),
      width, height: 300, padding: 2, autosize: { type: "fit", contains: "padding" },
      data: [
        { name: "points", values: dodged },
        { name: "line", values: line },
      ],
      scales: [
        { name: "x", type: "log", domain: [least / 2, most * 2], range: "width" },
        { name: "y", type: "linear", domain: [0, 1], range: "height" },
        { name: "colour", type: "ordinal", domain: variants, range: [c.order, c.interrupt, c.elsewhere, c.link, c.wrong, c.ink] },
        { name: "shape", type: "ordinal", domain: periods, range: ["circle", "square", "triangle-up", "diamond"] },
      ],
      axes: [
        { orient: "left", scale: "y", format: "%", grid: true, gridColor: c.line, labelColor: c.faint, domainColor: c.line, tickColor: c.line },
        { orient: "bottom", scale: "x", title: "guest's time a step, microseconds", titleColor: c.faint, labelColor: c.faint,
          tickCount: 6, domainColor: c.line, tickColor: c.line },
      ],
      legends: [
        { fill: "colour", orient: "bottom", direction: "horizontal", labelColor: c.ink },
        ...(periods.length > 1 ? [{ shape: "shape", title: "timer's period, microseconds", titleColor: c.faint, titleLimit: 300, orient: "bottom",
          direction: "horizontal", labelColor: c.ink, symbolStrokeColor: c.ink }] : []),
      ],
      marks: [
        { type: "group", from: { facet: { name: "one", data: "line", groupby: "period" } }, marks: [
          { type: "line", from: { data: "one" }, encode: { update: {
            x, y: { scale: "y", field: "share" }, stroke: { value: c.line }, strokeWidth: { value: 2 } } } }] },
        { type: "rule", from: { data: "points" }, encode: { update: {
          x: aside, y: { scale: "y", field: "low" }, y2: { scale: "y", field: "high" }, stroke, strokeWidth: { value: 2 } } } },
        { type: "symbol", from: { data: "points" }, encode: { update: {
          x: aside, y: { scale: "y", field: "share" }, size: { value: 55 }, fill: stroke,
          shape: { scale: "shape", field: "period" } } } },
      ],
    });
  };
  draw();
  return draw;
}

// ---- two variants side by side

const KIND_OF_CHANGE = [
  [(first, second) => `fails with ${second}, not with ${first}`, (one, other) => one === "pass" && other === "fail"],
  [(first, second) => `fails with ${first}, not with ${second}`, (one, other) => one === "fail" && other === "pass"],
  [() => "fails on both, in different ways", (one, other) => one === "fail" && other === "fail"],
  [() => "no verdict on one of them, or not run", () => true],
];

function offerChoice(box) {
  const { variants, seen, tests } = data.choices[Number(box.dataset.choice)];
  const choose = (label, chosen) => {
    const list = element("select", { ariaLabel: label });
    variants.forEach((name, n) => list.append(element("option", { value: n, selected: n === chosen }, name)));
    list.addEventListener("change", tell);
    return list;
  };
  const result = element("div", { ariaLive: "polite" });
  const first = choose("first variant", 0);
  const second = choose("second variant", variants.length - 1);
  const what = (test, n) => (test[1][n] < 0 ? ["", "", "–"] : seen[test[1][n]]);
  const link = (test, n) => {
    const [, state, words] = what(test, n);
    return test[2][n] ? element("a", { href: `#${test[2][n]}`, className: state }, words) : words;
  };
  function tell() {
    const [a, b] = [Number(first.value), Number(second.value)];
    const differ = KIND_OF_CHANGE.map(() => []);
    let same = 0;
    for (const test of tests) {
      const [one, other] = [what(test, a), what(test, b)];
      if (one[0] === other[0] && one[2].replace(/[()!=]/g, "") === other[2].replace(/[()!=]/g, "")) same++;
      else differ[KIND_OF_CHANGE.findIndex(([, is]) => is(one[0], other[0]))].push(test);
    }
    result.replaceChildren();
    KIND_OF_CHANGE.forEach(([title], kind) => {
      if (!differ[kind].length) return;
      const rows = element("tbody");
      for (const test of differ[kind]) {
        rows.append(element("tr", {}, element("th", { scope: "row" }, test[0]),
          element("td", {}, link(test, a)), element("td", {}, link(test, b))));
      }
      const head = element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "test"),
        element("th", { scope: "col" }, variants[a]), element("th", { scope: "col" }, variants[b])));
      result.append(element("h4", {}, `${title(variants[a], variants[b])}: ${differ[kind].length}`),
        element("div", { className: "wide", tabIndex: 0 }, element("table", { className: "pairs" }, head, rows)));
    });
    result.append(element("p", { className: "aside" }, `${same} of ${tests.length} tests are the same on both.`));
  }
  const fold = element("details", {}, element("summary", {}, "Compare two variants, test by test"),
    element("p", {}, first, " with ", second), result);
  box.replaceChildren(fold);
  fold.addEventListener("toggle", () => { if (fold.open) tell(); });
}
document.querySelectorAll("[data-choice]").forEach(offerChoice);

// ---- the map: one tab stop, then the arrow keys

const MOVES = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function lead(map) {
  const links = [...map.querySelectorAll("td > a")];
  const stop = (link) => { links.forEach((each) => { each.tabIndex = each === link ? 0 : -1; }); };
  if (links.length) stop(links.find((each) => each.classList.contains("wrong")) || links[0]);
  map.addEventListener("focusin", ({ target }) => { if (links.includes(target)) stop(target); });
  map.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    const link = event.target.closest("td > a");
    if (!move || !link || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    // Rows are variants, which every panel has; columns continue from one panel to the next.
    const own = link.closest("tr").rowIndex;
    const panels = [...map.querySelectorAll("table")];
    const rows = panels[0].rows.length;
    const line = (row) => panels.flatMap((panel) => [...panel.rows[row].cells[1].children]);
    const column = line(own).indexOf(link) + move[1];
    for (let row = own + move[0], at = column; row >= 0 && row < rows; row += move[0], at += move[1]) {
      const found = line(row)[at];
      if (!found) return;
      if (found.href) { found.focus(); return; }
      if (!move[0] && !move[1]) return;
    }
  });
}
document.querySelectorAll(".map").forEach(lead);

// ---- events

const drawn = new Map();
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && !drawn.has(target)) {
      const { path, rates } = target.dataset;
      drawn.set(target, path !== undefined ? drawWalk(target) : rates !== undefined ? drawRates(target) : drawCurve(target));
    }
  }
}, { rootMargin: "200px" });
document.querySelectorAll("[data-path], [data-rates], [data-curve]").forEach((box) => seen.observe(box));

let waiting;
const again = () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => drawn.forEach((draw, box) => { if (box.clientWidth) draw(); }), 100);
};
addEventListener("resize", again);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);

function reveal() {
  const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
  if (!target) return;
  for (let box = target.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
  target.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();
