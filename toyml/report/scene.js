"use strict";
// Panels that follow one slider. What they show comes from scene.py; nothing here knows a kind of panel.
const toyml = { ready: false, frame: -1, panels: [] };
toyml.opened = new Promise((resolve) => { toyml.tellReady = resolve; });
window.toyml = toyml;

// -- reading what packing.py wrote ---------------------------------------------------------------

async function inflate(id) {
  const text = atob(document.getElementById(id).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const KINDS = { float: Float32Array, int: Int32Array, double: Float64Array, levels: Uint16Array };
const HOLE = 65535;

// An array with its shape; rounded levels become numbers when they are first asked for.
class Stack {
  constructor(buffer, start, entry) {
    this.shape = entry.shape;
    this.entry = entry;
    const count = entry.shape.reduce((a, b) => a * b, 1);
    const Kind = KINDS[entry.type];
    // An offset need not be a multiple of eight.
    this.codes = entry.type === "double"
      ? new Kind(buffer.slice(start, start + 8 * count)) : new Kind(buffer, start, count);
  }
  get data() {
    if (this.entry.type !== "levels") return this.codes;
    if (!this.numbers) {
      const { low, unit } = this.entry;
      this.numbers = new Float32Array(this.codes.length);
      for (let i = 0; i < this.codes.length; i++) {
        this.numbers[i] = this.codes[i] === HOLE ? NaN : low + unit * this.codes[i];
      }
    }
    return this.numbers;
  }
  whole() { return nested(this.data, this.shape); }
  row(i) {
    const inner = this.shape.slice(1), size = inner.reduce((a, b) => a * b, 1);
    return nested(this.data.subarray(i * size, (i + 1) * size), inner);
  }
  upto(i) { return nested(this.data.subarray(0, i + 1), [i + 1]); }
  column(i) { return this.data.filter((_, place) => place % this.shape.at(-1) === i); }
  rowColumn(i, column) {
    const width = this.shape.at(-1), size = this.shape.slice(1).reduce((a, b) => a * b, 1);
    const found = new Float32Array(size / width);
    for (let k = 0; k < found.length; k++) found[k] = this.data[i * size + k * width + column];
    return found;
  }
}

function nested(data, shape) {
  if (shape.length < 2) return data;
  const size = data.length / shape[0];
  return Array.from({ length: shape[0] }, (_, i) =>
    nested(data.subarray(i * size, (i + 1) * size), shape.slice(1)));
}

function revive(value, buffer, start) {
  if (Array.isArray(value)) return value.map((item) => revive(item, buffer, start));
  if (!value || typeof value !== "object") return value;
  if ("$" in value) return new Stack(buffer, start + value.$, value);
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, revive(v, buffer, start)]));
}

async function readScene() {
  const buffer = await inflate("scene-data");
  const length = new DataView(buffer).getUint32(0, true);
  const text = new TextDecoder().decode(new Uint8Array(buffer, 4, length));
  return revive(JSON.parse(text), buffer, 4 + length);
}

// -- numbers and colors --------------------------------------------------------------------------

function words(value) {
  if (typeof value === "string") return value;
  if (value === null || Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  let text;
  if (size !== 0 && (size < 1e-4 || size >= 1e7)) {
    const [mantissa, exponent] = value.toExponential(3).split("e");
    const digits = { "-": "⁻", "+": "" };
    "0123456789".split("").forEach((d, i) => { digits[d] = "⁰¹²³⁴⁵⁶⁷⁸⁹"[i]; });
    text = `${Number(mantissa)} × 10${[...exponent].map((c) => digits[c]).join("")}`;
  } else {
    text = Number(value.toPrecision(5)).toLocaleString("en", { maximumFractionDigits: 8 });
  }
  return text.replace("-", "−");
}
const count = (n) => n.toLocaleString("en");

function painted(value, theme) {
  if (typeof value === "string") return value.startsWith("@") ? theme[value] ?? value : value;
  if (value instanceof Stack) return value.whole();
  if (Array.isArray(value)) return value.map((item) => painted(item, theme));
  if (!value || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, theme)]));
}

function assign(target, path, value) {
  const keys = path.split("."), last = keys.pop();
  for (const key of keys) target = target[key] ??= {};
  target[last] = value;
}

// -- time ----------------------------------------------------------------------------------------

// Where a step lies on the axis: linear, or log10(1 + step), which has a place for step 0.
class Time {
  constructor(steps) {
    this.steps = steps;
    this.log = false;
  }
  at(step) { return this.log ? Math.log10(1 + step) : step; }
  step(at) { return this.log ? 10 ** at - 1 : at; }
  get first() { return this.at(this.steps[0]); }
  get last() { return this.at(this.steps.at(-1)); }
  share(frame) { return (this.at(this.steps[frame]) - this.first) / (this.last - this.first || 1); }
  // The stop nearest to a place on the axis.
  nearest(at) {
    let low = 0, high = this.steps.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.at(this.steps[middle]) < at) low = middle + 1; else high = middle;
    }
    const before = Math.max(low - 1, 0);
    return at - this.at(this.steps[before]) <= this.at(this.steps[low]) - at ? before : low;
  }
  axis() {
    const room = 0.02 * (this.last - this.first || 1);
    const axis = { range: [this.first - room, this.last + room], uirevision: this.log ? "log" : "linear" };
    // There is no half step.
    const few = this.last - this.first < 6;
    if (!this.log) return { ...axis, tickmode: few ? "linear" : "auto", dtick: few ? 1 : undefined, nticks: 6, tickformat: few ? "d" : "~s" };
    const ticks = this.steps[0] === 0 ? [0] : [];
    for (let power = 1; power <= this.steps.at(-1); power *= 10) {
      if (power >= this.steps[0]) ticks.push(power);
    }
    const names = ticks.map((t) => (t < 1000 ? String(t) : t < 1e6 ? `${t / 1e3}k` : `${t / 1e6}M`));
    return { ...axis, tickmode: "array", tickvals: ticks.map((t) => this.at(t)), ticktext: names };
  }
}

// -- a panel -------------------------------------------------------------------------------------

class PanelView {
  constructor(spec, stage) {
    Object.assign(this, { spec, stage, shown: 0, drawn: -1, near: false });
    this.figure = document.getElementById(`panel-${spec.name}`);
    this.place = this.figure.querySelector(".plot");
    this.readings = this.figure.querySelector(".readings");
    this.chosen = spec.plots.map((plot) => plot.choices.map((choice) => choice.chosen));
    this.place.setAttribute("role", "img");
    this.place.setAttribute("aria-label", spec.alt);
    this.tools();
  }
  get plot() { return this.spec.plots[this.shown]; }

  tools() {
    const bar = this.figure.querySelector(".tools");
    bar.replaceChildren();
    // Some 40 letters fit beside each other, on a phone too.
    const letters = this.spec.plots.reduce((sum, plot) => sum + plot.label.length, 0);
    if (this.spec.plots.length > 1) bar.append(letters > 40 ? this.menu() : this.tabs());
    this.plot.choices.forEach((choice, i) => {
      if (choice.options.length < 2 || (choice.options.length === this.plot.choices.length)) return;
      const label = document.createElement("label"), select = document.createElement("select");
      choice.options.forEach((option, k) => select.append(new Option(option, k)));
      select.value = this.chosen[this.shown][i];
      select.addEventListener("change", () => { this.chosen[this.shown][i] = Number(select.value); this.draw(); });
      label.append(`${choice.label} `, select);
      bar.append(label);
    });
  }

  tabs() {
    const group = document.createElement("div");
    group.className = "switch";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "what is shown");
    this.spec.plots.forEach((plot, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = plot.label;
      button.setAttribute("aria-pressed", String(i === this.shown));
      button.addEventListener("click", () => { this.show(i); this.figure.querySelectorAll(".switch button")[i].focus(); });
      group.append(button);
    });
    return group;
  }
  menu() {
    const select = document.createElement("select");
    select.className = "menu";
    select.setAttribute("aria-label", "what is shown");
    this.spec.plots.forEach((plot, i) => select.append(new Option(plot.label, i, false, i === this.shown)));
    select.addEventListener("change", () => { this.show(Number(select.value)); this.figure.querySelector(".menu").focus(); });
    return select;
  }

  show(i) {
    this.shown = i;
    this.tools();
    if (window.Plotly) Plotly.purge(this.place);
    this.draw();
  }

  // What the moves say at a frame, as Plotly.restyle takes it: by attribute a value for each trace.
  changes(frame) {
    const traces = [...new Set(this.plot.moves.map((move) => move.trace))];
    const found = {};
    if (this.plot.time) {
      const at = this.stage.time.at(this.stage.steps[frame]);
      found.x = Array(traces.length);
      this.sides().forEach((_, i) => { found.x.push([at, at]); traces.push(this.plot.data.length + i); });
    }
    for (const { trace, key, values, rows, trail, choice } of this.plot.moves) {
      const row = this.stage.row(rows, frame);
      let value = choice !== null ? values.rowColumn(row, this.chosen[this.shown][choice])
        : trail ? values.upto(row) : values.row(row);
      if (this.plot.time && key === "x") value = Array.from(value, (step) => this.stage.time.at(step));
      (found[key] ??= Array(traces.length).fill(undefined))[traces.indexOf(trace)] = value;
    }
    return [found, traces];
  }

  // The vertical axes of a plot over the steps: one, or a second for what is drawn below.
  sides() { return this.plot.layout.yaxis3 ? ["y", "y3"] : ["y"]; }

  // The line of the present step, on an axis of its own that reaches from bottom to top.
  cursor(yaxis) {
    return { type: "scatter", mode: "lines", y: [0, 1], yaxis, hoverinfo: "skip", showlegend: false,
             line: { color: this.stage.theme["@muted"], width: 1.5 } };
  }

  // Draw anew, with everything that depends on theme, time and choices.
  draw() {
    if (!window.Plotly) return;
    const { stage, plot } = this, { time } = stage;
    const data = painted(plot.data, stage.theme), layout = painted(plot.layout, stage.theme);
    for (const { trace, key, values, choice } of plot.columns) {
      data[trace][key] = values.column(this.chosen[this.shown][choice]);
    }
    plot.choices.forEach((choice, i) => {
      for (const path of choice.titles) assign(layout, path, choice.options[this.chosen[this.shown][i]]);
    });
    if (plot.time) {
      for (const trace of data) {
        if (!trace.x) continue;
        trace.customdata = trace.x;
        trace.x = Array.from(trace.x, (step) => time.at(step));
      }
      // The place on a logarithmic axis is no step: the first curve says the step.
      const title = { text: layout.yaxis.title.text };
      Object.assign(layout.xaxis, time.axis(), { unifiedhovertitle: title });
      data[0].hovertemplate = `${data[0].hovertemplate} at step %{customdata:,}`;
      layout.hoverdistance = -1;
      this.sides().forEach((side, i) => {
        const own = 2 * (i + 1);
        layout[`yaxis${own}`] = { overlaying: side, range: [0, 1], fixedrange: true, visible: false };
        data.push(this.cursor(`y${own}`));
      });
    }
    const [found, traces] = this.changes(stage.frame);
    for (const [key, values] of Object.entries(found)) {
      values.forEach((value, i) => { if (value !== undefined) data[traces[i]][key] = value; });
    }
    // A finger that scrolls the page must not zoom a plot.
    layout.dragmode ??= stage.fine ? "zoom" : false;
    const config = { displayModeBar: false, responsive: true, doubleClick: "reset" };
    try {
      const first = !this.place.data;
      for (const trace of data) learn(trace.type ?? "scatter");
      Plotly.react(this.place, data, layout, config);
      if (first && plot.time) this.listen();
      this.drawn = stage.frame;
      this.read(stage.frame);
    } catch (error) {
      this.failed = true;
      this.place.textContent = `This panel could not be drawn: ${error.message}`;
    }
  }

  listen() {
    const step = (event) => this.stage.time.nearest(event.points[0].x);
    this.place.on("plotly_hover", (event) => this.stage.preview(step(event)));
    this.place.on("plotly_unhover", () => this.stage.preview(null));
    this.place.on("plotly_click", (event) => this.stage.go(step(event)));
  }

  move(frame) {
    if (!this.near || !this.place.data || frame === this.drawn) return;
    this.drawn = frame;
    const [found, traces] = this.changes(frame);
    // Gliding leaves out what is no line, wherever it is.
    const lines = this.place.data.every((trace) => trace.type === "scatter");
    if (!lines) Plotly.restyle(this.place, found, traces);
    else if (traces.length) this.glide(found, traces);
    this.read(frame);
  }

  // Points and lines alone move in half the time that everything takes to be drawn again.
  glide(found, traces) {
    const data = traces.map((_, i) => Object.fromEntries(
      Object.entries(found).filter(([, values]) => values[i] !== undefined).map(([key, values]) => [key, values[i]])));
    const options = { mode: "immediate", transition: { duration: 0 }, frame: { duration: 0, redraw: false } };
    // A newer frame may overtake this one.
    Plotly.animate(this.place, { data, traces }, options).catch(() => {});
  }

  read(frame) {
    this.readings.textContent = this.spec.readings.map(({ label, values, rows }) => {
      const row = this.stage.row(rows, frame);
      const value = words(values instanceof Stack ? values.data[row] : values[row]);
      return label ? `${label} ${value}` : value;
    }).join("  ·  ");
  }
}

// Kinds of traces wait to be evaluated until a panel has one; what has no name there comes with all.
const learnt = new Set(["scatter"]);
function learn(kind) {
  if (learnt.has(kind)) return;
  learnt.add(kind);
  const waiting = Plotly.waiting ?? {}, kinds = kind in waiting ? [kind] : Object.keys(waiting);
  Plotly.register(kinds.map((name) => waiting[name]()));
  for (const name of kinds) delete waiting[name];
}

// -- the stage: one slider for all ---------------------------------------------------------------

class Stage {
  constructor(scene, lab) {
    this.scene = scene;
    this.lab = lab;
    this.steps = Array.from(scene.steps.data);
    this.time = new Time(this.steps);
    this.time.log = scene.log;
    this.maps = scene.maps.map((map) => map.data);
    this.dark = matchMedia("(prefers-color-scheme: dark)");
    this.fine = matchMedia("(pointer: fine)").matches;
    this.frame = this.committed = this.steps.length - 1;
    this.control = Object.fromEntries([...lab.querySelectorAll("[data-control]")].map((e) => [e.dataset.control, e]));
    this.panels = scene.panels.map((spec) => new PanelView(spec, this));
    this.bind();
    this.press();
    this.slide();
    this.tell();
  }
  get theme() { return this.scene.themes[this.dark.matches ? "dark" : "light"]; }
  row(map, frame) { return this.maps[map][frame]; }

  bind() {
    const { play, slider, linear, log } = this.control;
    play.addEventListener("click", () => this.toggle());
    slider.addEventListener("input", () => {
      this.stop();
      this.commit(this.time.nearest(this.time.first + (slider.value / slider.max) * (this.time.last - this.time.first)));
    });
    for (const [button, isLog] of [[linear, false], [log, true]]) {
      button.addEventListener("click", () => this.scale(isLog));
    }
    addEventListener("keydown", (event) => this.key(event));
    this.dark.addEventListener("change", () => this.redraw());
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.stop(); });
    const watch = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const panel = this.panels.find((p) => p.figure === entry.target);
        panel.near = entry.isIntersecting;
        if (!panel.near) continue;
        if (!panel.place.data || panel.stale) { panel.stale = false; panel.draw(); } else panel.move(this.frame);
      }
      if (window.Plotly && !toyml.ready && entries.length) this.open();
    }, { rootMargin: "200px 0px" });
    this.watch = () => this.panels.forEach((panel) => watch.observe(panel.figure));
  }

  open() {
    toyml.ready = true;
    performance.mark("toyml-ready");
    toyml.tellReady(performance.now());
    this.prepare();
  }
  // The panels out of view, one whenever there is nothing else to do: a reader who scrolls fast
  // finds them drawn.
  prepare() {
    const later = window.requestIdleCallback ?? ((work) => setTimeout(work, 200));
    const next = this.panels.find((panel) => !panel.place.data && !panel.failed);
    if (next) later(() => { if (!next.place.data) next.draw(); this.prepare(); });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target, key } = event, inside = this.lab.contains(target);
    if (target.closest("input:not([type=range]), textarea, select, [contenteditable]")) return;
    if (!inside && target !== document.body) return;
    const box = this.lab.getBoundingClientRect(), seen = box.top < innerHeight && box.bottom > 0;
    const last = this.steps.length - 1;
    const moves = { ArrowLeft: this.committed - 1, ArrowRight: this.committed + 1, Home: 0, End: last };
    if (key in moves && seen && (inside || key.startsWith("Arrow"))) {
      event.preventDefault();
      this.stop();
      this.go(Math.min(Math.max(moves[key], 0), last));
    } else if (key === " " && inside && !target.closest("button")) {
      event.preventDefault();
      this.toggle();
    }
  }

  // A frame that stays; the pointer over a curve only previews one.
  go(frame) {
    this.commit(frame);
    this.slide();
  }
  commit(frame) {
    this.committed = frame;
    this.view(frame);
  }
  preview(frame) {
    if (!this.timer) this.view(frame ?? this.committed);
  }
  view(frame) {
    if (frame === this.frame) return;
    this.frame = frame;
    this.tell();
    // Frames that come faster than they can be drawn are passed over.
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      for (const panel of this.panels) panel.move(this.frame);
      toyml.frame = this.frame;
    });
  }
  slide() { this.control.slider.value = Math.round(this.time.share(this.committed) * this.control.slider.max); }

  tell() {
    const step = this.steps[this.frame];
    const losses = this.scene.losses.map(({ name, values, rows }) => [name, words(values.data[this.row(rows, this.frame)])]);
    const held = this.scene.runs.filter((run) => step > run.last).map((run) => `${run.name} ended at step ${count(run.last)}`);
    const text = `step ${count(step)} of ${count(this.steps.at(-1))}`;
    this.control.step.textContent = text;
    this.control.loss.replaceChildren(...losses.map(([name, value], i) => {
      const item = document.createElement("span");
      item.textContent = `${name || "loss"} ${value}`;
      if (losses.length > 1) item.style.setProperty("--run", this.theme[`@run${this.scene.runs.findIndex((run) => run.name === name) % 7}`]);
      return item;
    }));
    this.lab.querySelectorAll(".key li").forEach((item, i) => item.style.setProperty("--run", this.theme[`@run${i % 7}`]));
    this.control.held.textContent = held.join("; ");
    const loss = losses.map(([name, value]) => `${name ? `${name}: ` : ""}loss ${value}`).join(", ");
    this.control.slider.setAttribute("aria-valuetext", `${text}${loss && `, ${loss}`}`);
    clearTimeout(this.telling);
    if (!this.timer) this.telling = setTimeout(() => { this.control.status.textContent = `${text}, ${loss}`; }, 700);
  }

  press() {
    this.control.linear.setAttribute("aria-pressed", String(!this.time.log));
    this.control.log.setAttribute("aria-pressed", String(this.time.log));
  }
  scale(log) {
    if (log === this.time.log) return;
    this.time.log = log;
    this.press();
    this.slide();
    this.redraw((panel) => panel.plot.time);
  }
  redraw(which = () => true) {
    for (const panel of this.panels.filter((p) => p.place.data && which(p))) {
      if (panel.near) panel.draw(); else panel.stale = true;
    }
    this.tell();
  }

  toggle() { if (this.timer) this.stop(); else this.play(); }
  stop() {
    if (!this.timer) return;
    cancelAnimationFrame(this.timer);
    this.timer = null;
    this.playing(false);
    this.tell();
  }
  playing(on) {
    this.control.play.setAttribute("aria-label", on ? "Pause" : "Play");
    this.control.play.dataset.state = on ? "playing" : "paused";
  }
  play() {
    let share = this.committed === this.steps.length - 1 ? 0 : this.time.share(this.committed), before = null;
    this.playing(true);
    const tick = (now) => {
      // A slow frame does not make the film jump.
      if (before !== null) share += (Math.min(now - before, 100) / 8000) * Number(this.control.speed.value);
      before = now;
      this.commit(this.time.nearest(this.time.first + Math.min(share, 1) * (this.time.last - this.time.first)));
      this.slide();
      this.timer = share < 1 ? requestAnimationFrame(tick) : null;
      if (!this.timer) { this.playing(false); this.tell(); }
    };
    this.timer = requestAnimationFrame(tick);
  }
}

// -- opening -------------------------------------------------------------------------------------

async function open() {
  const lab = document.getElementById("lab");
  if (!lab) return;
  if (!("DecompressionStream" in window)) {
    lab.querySelector(".sorry").hidden = false;
    return;
  }
  const [scene, script] = await Promise.all([readScene(), inflate("plotly-data")]);
  lab.classList.add("live");
  const stage = new Stage(scene, lab);
  Object.assign(toyml, { stage, panels: stage.panels });
  // Let the controls and the words be seen before the library is read.
  await new Promise((resolve) => { requestAnimationFrame(() => setTimeout(resolve)); });
  const element = document.createElement("script");
  element.textContent = new TextDecoder().decode(script);
  document.head.append(element);
  stage.watch();
}
open().catch((error) => {
  const sorry = document.querySelector("#lab .sorry");
  sorry.hidden = false;
  sorry.textContent = `The moving panels could not be opened (${error.message}); the figures below show the same run.`;
});
