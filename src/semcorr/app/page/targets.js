// The targets with their points, heat maps, and all locations in numbers.
"use strict";
import { rounded, stateOf, sureness, titleOf } from "./marks.js";
import { $, button, make } from "./nodes.js";
import { imageView } from "./image_view.js";
import { swatch } from "./points.js";
import * as regions from "./regions.js";
import { image } from "./server.js";

const shown = new Map();  // by the target's id

// A point of a target, with what it is in the source.
function joined(work, target) {
  const own = new Map(target.points.map(point => [point.id, point]));
  return work.points.map(point => ({ ...point, x: null, y: null, state: "missing", confidence: null, ...own.get(point.id) }));
}

function add(target, actions) {
  const caption = make("span", { class: "title" }), note = make("span", { class: "note faint" }), box = make("div"), sure = make("p", { class: "sureness", "aria-hidden": "true" });
  const accept = button("Accept", () => actions.accept(target.id)), remove = button("×", () => actions.remove(target.id), { class: "plain round" });
  const figure = make("figure", { class: "target", "data-id": target.id }, make("figcaption", {}, caption, accept, remove), box, note);
  const view = imageView(box, { name: "Target" });
  view.bar.prepend(sure);
  view.on("choose", id => actions.choose(id));
  view.on("mark", (x, y) => actions.put(target.id, x, y));
  view.on("move", (id, x, y) => actions.correct(target.id, id, x, y));
  view.on("remove", () => actions.refuseRemove());
  return { figure, caption, sure, note, accept, remove, view, heat: null, requested: "" };
}

export function showTargets(work, ui, actions) {
  const known = new Set(work.targets.map(target => target.id)), results = hasResults(work, ui.what), ofRegions = ui.what === "regions";
  for (const [id, one] of shown) if (!known.has(id)) {
    dropHeat(one);
    one.view.destroy();
    one.figure.remove();
    shown.delete(id);
  }
  for (const [index, target] of work.targets.entries()) {
    if (!shown.has(target.id)) shown.set(target.id, add(target, actions));
    const one = shown.get(target.id);
    if ($("grid").children[index] !== one.figure) $("grid").insertBefore(one.figure, $("grid").children[index] || null);
    one.caption.replaceChildren(make("b", {}, make("bdi", {}, target.name)), ` ${target.size.join(" × ")}`);
    one.note.textContent = target.note;
    // The same is in the description of the image.
    one.sure.replaceChildren(...(ofRegions ? regions.sureOf(target) : results ? joined(work, target).map(sureOf) : []));
    one.accept.hidden = ofRegions || !target.points.some(point => point.state === "found");
    one.accept.setAttribute("aria-label", `Accept all points in ${target.name}`);
    one.remove.setAttribute("aria-label", `Remove ${target.name}`);
    draw(work, target, one, ui, results);
    if (ui.heat && work.found && !ofRegions) loadHeat(work, target, one, ui); else dropHeat(one);
  }
  $("grid").dataset.count = work.targets.length;
}

const PALE = 0.5;

const MARKS = { accepted: "✓", corrected: "✎", missing: "–" };

function sureOf(point) {
  return make("span", { title: `${titleOf(point)}: ${stateOf(point)}` }, swatch(point), MARKS[point.state] || sureness(point));
}

function draw(work, target, one, ui, results) {
  if (ui.what === "regions") {
    const shown = target.regions || {};
    one.view.show({ image: target, heat: shown.address, opacity: ui.opacity * (shown.outdated ? PALE : 1), description: regions.describeTarget(target) });
    return;
  }
  const points = results ? joined(work, target) : [];
  one.view.show({
    image: target, points, heat: ui.heat ? one.heat : null, opacity: ui.opacity, chosen: ui.chosen, mode: results ? "move" : "view",
  });
}

function dropHeat(one) {
  if (one.heat) URL.revokeObjectURL(one.heat);
  one.heat = null;
  one.requested = "";
}

async function loadHeat(work, target, one, ui) {
  const query = new URLSearchParams({ target: target.id, point: ui.chosen ?? "all", layer: ui.layer });
  const key = `${work.revision} ${query}`;
  if (key === one.requested) return;
  one.requested = key;
  const url = await image(`api/work/heat?${query}`).catch(() => null);
  if (one.requested !== key) {
    if (url) URL.revokeObjectURL(url);
    return;
  }
  dropHeat(one);
  Object.assign(one, { heat: url, requested: key });
  draw(work, target, one, ui, true);
}

export const hasResults = (work, what) => what === "regions" ? Boolean(work.regions.with) : Boolean(work.found) || work.targets.some(target => target.points.some(point => point.state !== "missing"));

export function showNumbers(work) {
  const head = ["Target", "Point", "Name", "x", "y", "Confidence"].map(text => make("th", { scope: "col" }, text));
  const rows = work.targets.flatMap(target => joined(work, target).map(point => make("tr", {},
    ...[target.name, point.number, point.label].map(text => make("td", {}, String(text))),
    ...[point.x, point.y].map(value => make("td", { class: "number" }, value === null ? "" : rounded(value).toFixed(1))),
    make("td", { class: "number" }, point.state === "found" ? sureness(point) : stateOf(point)))));
  $("table").replaceChildren(make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}
