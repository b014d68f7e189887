// Regions: the brush, those that are painted in the source, and what is said of them in a target.
"use strict";
import { titleOf } from "./marks.js";
import { $, make } from "./nodes.js";
import { showRows, swatch } from "./points.js";
import { work } from "./server.js";

const WIDEST = 0.2;       // the largest radius, as a share of the image's longer side
const ERASER = "#fff", BACKGROUND = 0;

// The region that is painted; `another` says that the next stroke begins one, `begun` is one that the server does not
// have yet, `underWay` the number of strokes that it does not have yet.
const tool = { region: null, another: false, erase: false, begun: null, underWay: 0 };
let most, render;

const regions = () => work.value.regions;
const shareOf = region => region.share ? `${(region.share * 100).toFixed(region.share < 0.1 ? 1 : 0)} % of the image` : "erased";

function radius() {
  return Math.max(...work.value.source.size) * WIDEST * (($("brush").value / 100) ** 2);
}

// What the brush paints with, for the image's view.
export function brushOf() {
  const { list, next } = regions(), one = list.find(region => region.id === tool.region) || next;
  return { radius: radius(), colour: tool.erase ? ERASER : one.colour };
}

export function describe(image) {
  const { list } = regions(), words = list.map(region => `${titleOf(region)}, ${shareOf(region)}`);
  return `${image.name}, ${list.length === 1 ? "1 painted region" : `${list.length || "no"} painted regions`}${words.length ? `: ${words.join("; ")}` : ""}.`;
}

// Sends a stroke as a step, and is true once it is painted. The region that it begins is chosen at once, so that what
// is chosen meanwhile stays chosen, and strokes that follow before the answer belong to the same region.
export async function paint(corners, take) {
  if (!tool.erase && tool.region === null) {
    const begun = regions().next.number;
    Object.assign(tool, { region: begun, another: false, begun });
    render();
  }
  tool.underWay += 1;
  const done = await take("paint", { region: tool.erase ? BACKGROUND : tool.region, radius: radius(), corners });
  tool.underWay -= 1;
  if (tool.underWay === 0) tool.begun = null;
  render();
  return done;
}

export function show(actions) {
  const { list, next } = regions(), has = id => list.some(region => region.id === id);
  if (has(tool.begun)) tool.begun = null;
  if (tool.another && list.length < most) tool.region = null;
  else if (!has(tool.region) && (tool.begun === null || tool.region !== tool.begun)) tool.region = list.length ? list.at(-1).id : null;
  tool.erase &&= list.length > 0;
  showRows($("regions"), list, tool.erase ? null : tool.region, actions, "region", shareOf);
  $("erase").disabled = !list.length;
  $("erase").setAttribute("aria-pressed", String(tool.erase));
  // Its number would be that of the one that is begun.
  $("another").disabled = tool.begun !== null;
  $("another").hidden = !list.length || list.length >= most;
  $("another").setAttribute("aria-pressed", String(tool.another && !tool.erase));
  $("another").replaceChildren(swatch(next), " Paint another region");
  $("clear-regions").hidden = !list.length;
}

// What is said of the regions of a target.
export function sureOf(target) {
  if (!target.regions) return [];
  return regions().list.map(region => {
    const value = target.regions.confidence[region.id], text = value === undefined ? "–" : value.toFixed(2);
    const words = value === undefined ? "not in this image" : `confidence ${text}`;
    return make("span", { title: `${titleOf(region)}: ${words}` }, swatch(region), text);
  });
}

export function describeTarget(target) {
  if (!target.regions) return `${target.name}, not searched for regions yet.`;
  const { confidence, outdated } = target.regions;
  const words = regions().list.map(region => `${titleOf(region)}, ${confidence[region.id] === undefined ? "not in this image" : `confidence ${confidence[region.id].toFixed(2)}`}`);
  return `${target.name}: ${words.join("; ")}${outdated ? "; painted anew since then, find again" : ""}.`;
}

// The method to use where the chosen one finds no regions, a quick one if there is one; empty where none does, null
// where it does.
export function suited(methods, chosen) {
  if (methods.find(method => method.name === chosen)?.regions) return null;
  const able = methods.filter(method => method.regions);
  return (able.find(method => !method.optimizes) || able[0])?.name || "";
}

function pick(id, another = false) {
  Object.assign(tool, { region: id, another, erase: false });
  render();
}

export const choose = id => pick(id);

export function start(limit, draw) {
  [most, render] = [limit, draw];
  $("brush").addEventListener("input", render);
  $("erase").addEventListener("click", () => {
    tool.erase = !tool.erase;
    render();
  });
  $("another").addEventListener("click", () => pick(null, true));
}
