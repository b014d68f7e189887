// The tab Match: two or more images, points, what is found, corrections.
"use strict";
import * as job from "./job.js";
import { titleOf } from "./marks.js";
import { $, button, make, options } from "./nodes.js";
import { imageView } from "./image_view.js";
import { showChips, showPoints } from "./points.js";
import * as regions from "./regions.js";
import { ask, begin, refresh, step, work } from "./server.js";
import { act, say } from "./status.js";
import { hasResults, showNumbers, showTargets } from "./targets.js";
import * as uploads from "./uploads.js";
import * as works from "./works.js";

const ui = { what: "points", chosen: null, choices: 0, heat: false, opacity: 0.7, layer: "", preview: null, running: false };
let about, source, methods = "";
const quiet = matchMedia("(prefers-reduced-motion: reduce)");

const current = () => work.value;
const pointNamed = id => current().points.find(point => point.id === id);

// Do a step; what it did not change is shown as it was.
async function take(name, fields) {
  const done = await act(() => step(name, fields));
  if (!done) render();
  return done;
}

function choose(id) {
  ui.chosen = id;
  ui.choices += 1;
  say("");
  render();
}

function render() {
  const value = current();
  if (!value) return;
  if (ui.chosen !== null && !pointNamed(ui.chosen)) ui.chosen = null;
  $("source-drop").classList.toggle("filled", Boolean(value.source));
  $("source-drop").querySelector(".file span").textContent = value.source ? "Choose another" : "Choose an image";
  $("source-name").replaceChildren(...(value.source ? [make("b", {}, make("bdi", {}, value.source.name)), ` ${value.source.size.join(" × ")}`, ...(value.source.note ? [make("span", { class: "note" }, value.source.note)] : [])] : []));
  renderSource(value);
  $("examples").classList.toggle("small", Boolean(value.source));
  renderResults(value);
  renderFinder(value);
  for (const which of ["undo", "redo"]) {
    const label = `${which === "undo" ? "Undo" : "Redo"}${value[which] ? `: ${value[which]}` : ""}`;
    $(which).disabled = !value[which];
    $(which).title = label;
    $(which).setAttribute("aria-label", label);
  }
  works.show();
}

const ofRegions = () => ui.what === "regions";

function renderSource(value) {
  for (const what of ["points", "regions"]) $(`mode-${what}`).setAttribute("aria-pressed", String(ui.what === what));
  $("modes").hidden = !value.source;
  $("source-lead").textContent = `${ofRegions() ? "Paint regions of" : "Click points in"} this image. They are looked for in the others.`;
  $("source-help").textContent = ofRegions() ? "Drag on the image to paint; two fingers, or the wheel, zoom. With the keyboard: arrows, then Enter." : "Click on the image, or tap. With the keyboard: arrows, then Enter.";
  $("source-help").hidden = !value.source || (ofRegions() ? value.regions.list.length > 0 : value.points.length > 2);
  $("point-box").hidden = ofRegions() || !value.points.length;
  $("region-box").hidden = !ofRegions() || !value.source;
  showPoints(value.points, ui.chosen, listed);
  regions.show(painted);
  if (ofRegions() && value.source) source.show({ image: value.source, heat: ui.preview || value.regions.address, opacity: ui.opacity, mode: "paint", brush: regions.brushOf(), description: regions.describe(value.source) });
  else source.show({ image: value.source, points: value.points, heat: ui.preview, mode: "add", chosen: ui.chosen });
}

function renderResults(value) {
  const results = hasResults(value, ui.what), cells = value.targets.flatMap(target => target.points);
  const layers = value.found ? value.found.layers : [];
  options($("layer"), layers, layers.includes(ui.layer) ? ui.layer : layers[0]);
  ui.layer = $("layer").value;
  $("targets-title").querySelector("span").textContent = results ? "Results" : "Targets";
  $("targets-drop").classList.toggle("filled", value.targets.length > 0);
  $("targets-drop").querySelector(".file span").textContent = value.targets.length ? "Add images" : "Choose images";
  $("targets-drop").hidden = value.targets.length >= about.limits.targets;
  $("remove").hidden = value.targets.length < 2;
  $("results").hidden = $("check").hidden = !results;
  $("heat-row").hidden = !value.found && !ofRegions();
  $("heat").checked = ui.heat;
  for (const label of document.querySelectorAll(".heat-only")) label.hidden = !ui.heat && !ofRegions();
  for (const element of document.querySelectorAll(".of-points")) element.classList.toggle("off", ofRegions());
  showChips(value.points, ui.chosen, choose);
  const seen = { ...ui, heat: ui.heat && Boolean(value.found) };
  showTargets(value, seen, onTargets);
  $("with").textContent = "";
  if (!results) return;
  $("check-title").textContent = ofRegions() ? "Export" : "Check and export";
  $("export-words").textContent = ofRegions() ? "label maps, COCO RLE, and a figure" : "COCO, CSV, figures, and the query for further images";
  if (ofRegions()) {
    $("with").textContent = `with ${value.regions.with}`;
    $("legend").textContent = `Found with ${value.regions.with}, a model for ${value.images}. A number is the mean confidence over a region’s pixels; it ranks, and is no probability.`;
    return;
  }
  $("with").textContent = value.found ? `with ${value.found.with}` : "";
  $("legend").textContent = value.found ? `Found with ${value.found.with}, a model for ${value.images}. Numbers and rings are the confidence, ${value.found.legend}.` : "";
  const name = ui.chosen === null ? "" : titleOf(pointNamed(ui.chosen)), own = cell => ui.chosen === null || cell.id === ui.chosen;
  $("accept").textContent = name ? `Accept ${name} everywhere` : "Accept all";
  $("accept").disabled = !cells.some(cell => own(cell) && cell.state === "found");
  $("discard").textContent = name ? `Discard corrections of ${name}` : "Discard corrections";
  $("discard").disabled = !cells.some(cell => own(cell) && ["corrected", "accepted"].includes(cell.state));
  showNumbers(value);
}

function renderFinder(value) {
  const offered = JSON.stringify(value.methods);
  if (offered !== methods) {
    methods = offered;
    options($("method"), value.methods.map(one => one.name), value.method);
    renderPresets(value.preset);
  }
  $("warning").textContent = value.warning;
  const [count, one, left] = ofRegions() ? [value.regions.list.filter(region => region.share).length, "a region", value.regions.to_find] : [value.points.length, "a point", value.to_find];
  const suited = ofRegions() ? regions.suited(value.methods, $("method").value) : null;
  $("find").disabled = ui.running || !value.source || !count || !value.targets.length || suited !== null;
  $("cancel").hidden = !ui.running;
  $("suited").hidden = !suited || ui.running;
  if (suited) $("suited").textContent = `Use ${suited}`;
  const missing = [!value.source && "a source", value.source && !count && `${one} in the source`, !value.targets.length && "a target"].filter(Boolean);
  const unsuited = suited === null ? "" : ` The method ${$("method").value} finds no regions${suited ? "" : ", nor does another on this model: start the page with another --model"}.`;
  const needs = missing.length ? ` Needs ${missing.join(" and ")} first.` : left ? ` ${left}` : "";
  $("model").replaceChildren(`on `, make("b", {}, value.model), `, a model for ${value.images}.${ui.running ? "" : unsuited + needs}`);
}

function renderPresets(preset) {
  const method = current().methods.find(one => one.name === $("method").value);
  if (method) options($("preset"), method.presets, preset || method.preset);
}

const listed = {
  choose: id => choose(ui.chosen === id ? null : id),
  // Several names, separated by commas, name this point and those after it.
  rename: (id, text) => {
    const { points } = current(), first = points.findIndex(point => point.id === id);
    if (!text.includes(",")) return take("name-point", { point: id, name: text });
    const given = text.split(",").map(name => name.trim());
    return take("name-points", { text: [...points.slice(0, first).map(point => point.name), ...given, ...points.slice(first + given.length).map(point => point.name)].join(",") });
  },
  remove: id => take("delete-point", { point: id }),
};

const painted = {
  choose: regions.choose,
  rename: (id, name) => take("name-region", { region: id, name }),
  remove: id => take("delete-region", { region: id }),
};

async function correct(target, point, x, y) {
  ui.chosen = point;
  ui.choices += 1;
  if (!await take("correct", { target, point, x, y }) || $("status").textContent) return;
  say(`${titleOf(pointNamed(point))}: set by hand in ${current().targets.find(one => one.id === target).name}. Undo takes it back.`);
}

const onTargets = {
  choose, correct,
  put: (target, x, y) => ui.chosen === null
    ? say("Choose the point first: click it in an image, or its number above.")
    : correct(target, ui.chosen, x, y),
  accept: target => take("accept", { target, point: null }),
  remove: target => take("remove-target", { target }),
  refuseRemove: () => say("A point is deleted in the source. Here it can be moved."),
};

function reveal(element, focus = element) {
  element.scrollIntoView({ block: "start", behavior: quiet.matches ? "auto" : "smooth" });
  focus.focus({ preventScroll: true });
}

// Follow a run; `ours` says that it was begun on this page, so that its results are brought into view.
async function follow(ours) {
  const show = job.progress($("progress"));
  ui.running = true;
  render();
  try {
    const last = await job.follow(state => {
      show(state);
      if (state.preview && state.preview !== ui.preview) {
        ui.preview = state.preview;
        render();
      }
    });
    await refresh();
    ui.running = false;
    ui.preview = null;
    render();
    if (!last || last.state === "cancelled") say(last?.message || "Cancelled. Points, matches and corrections are as they were.");
    else if (last.state === "failed") say(last.error, true);
    else {
      say(last.message);
      if (ours) reveal($("targets"), $("targets-title"));
    }
  } catch (error) {
    say(error.message, true);
  }
  ui.running = false;
  ui.preview = null;
  $("progress").hidden = true;
  render();
}

async function find() {
  const fields = { method: $("method").value, preset: $("preset").value, what: ui.what };
  if (await act(() => begin("api/find", fields).then(() => ""))) await follow(true);
}

async function exportFiles() {
  let files = [];
  const done = await act(async () => {
    const answer = await ask("api/work/export", {});
    ({ files } = answer);
    return answer.message || "";
  });
  if (!done) return;
  $("files").hidden = false;
  $("files").replaceChildren(...files.map(file => make("a", { class: "button", href: file.address, download: file.name }, file.name)));
  $("files").querySelector("a")?.focus();
}

function wire() {
  source = imageView($("source-image"), { name: "Source" });
  source.on("choose", choose);
  // A point is chosen once it is there, unless another was chosen since the click.
  source.on("mark", async (x, y) => {
    const before = ui.choices;
    if (!await take("add-point", { x, y }) || ui.choices !== before) return;
    ui.chosen = current().points.at(-1).id;
    render();
  });
  source.on("move", (id, x, y) => take("move-point", { point: id, x, y }));
  source.on("remove", id => take("delete-point", { point: id }));
  source.on("stroke", async corners => {
    if (await regions.paint(corners, take)) await source.laid();
  });
  regions.start(about.limits.regions, render);
  for (const what of ["points", "regions"]) $(`mode-${what}`).addEventListener("click", () => {
    ui.what = what;
    say("");
    render();
  });
  $("examples").querySelector("#example-buttons").append(...about.examples.map(category =>
    button(category, () => take("example", { category }), { id: `example-${category}` })));
  for (const name of ["undo", "redo"]) $(name).addEventListener("click", () => take(name));
  const clicks = {
    clear: () => take("clear-points"), "clear-regions": () => take("clear-regions"), remove: () => take("remove-targets"), find, cancel: () => act(() => ask("api/cancel", {}).then(() => "")),
    accept: () => take("accept", { point: ui.chosen, target: null }), discard: () => take("discard", { point: ui.chosen }), export: exportFiles,
  };
  for (const [id, action] of Object.entries(clicks)) $(id).addEventListener("click", action);
  $("more").addEventListener("click", () => $("more").setAttribute("aria-expanded", String($("methods").classList.toggle("open"))));
  $("method").addEventListener("change", () => { renderPresets(); render(); });
  $("suited").addEventListener("click", () => {
    $("method").value = regions.suited(current().methods, $("method").value);
    renderPresets();
    render();
    $("find").focus();
  });
  for (const [id, read] of [["heat", () => { ui.heat = $("heat").checked; }], ["opacity", () => { ui.opacity = $("opacity").value / 100; }], ["layer", () => { ui.layer = $("layer").value; }]]) {
    $(id).addEventListener("input", () => { read(); render(); });
  }
  document.addEventListener("keydown", event => {
    if ($("match").hidden || event.target.closest("input:not([type=checkbox]):not([type=range]), textarea, dialog")) return;
    if (event.key === "Escape" && ui.chosen !== null) choose(null);
    const which = event.shiftKey ? "redo" : "undo";
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z" && !$(which).disabled) {
      event.preventDefault();
      $(which).click();
    }
  });
}

// Files of an earlier state are not offered any longer.
function changed(value, before) {
  if (!before || value.revision !== before.revision) $("files").hidden = true;
  render();
}

export function start(given, gone) {
  about = given;
  const { limits } = about;
  $("limit").textContent = `At most ${limits.targets}.`;
  $("example-words").textContent = `Drawings, matched on ${about.example_model}, a model for ${about.example_images}.`;
  wire();
  if (current().regions.list.length && !hasResults(current(), "points")) ui.what = "regions";
  let before = work.value;
  work.subscribe(value => { changed(value, before); before = value; });
  uploads.start({ limits, suffixes: about.suffixes, hasSource: () => Boolean(current()?.source), arrived: () => render() });
  works.start(about.kept, () => { ui.chosen = null; render(); });
  render();
  if (gone) say(gone.message, true);
  else if (current().contents) say(`Your work is as you left it: ${current().contents}.`);
  else say(about.welcome);
  if (current().job && current().job.kind === "find" && ["waiting", "running"].includes(current().job.state)) follow(false);
}
