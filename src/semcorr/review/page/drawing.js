// Nodes of HTML and SVG, and an object drawn over its image.
"use strict";
import { COVERED, UNMARKED } from "./states.js";

export const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
export const COLOURS = { predicted: "#ffd24d", accepted: "#7ee2a8", placed: "#9cc9ff", annotated: "#ffffff", source: "#ffffff" };
const CONCERNED = "#ff8a1f";

export function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export function shape(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

let content = "";
export const setContent = value => { content = value; };
export const imageAddress = (image, side) => `api/image/${content}/${image}/${side}`;
// Of an image that is not there the file may not say how large it is: as large as its points need.
export const sizeOf = one => one.size || [0, 1].map(axis => Math.max(1, ...(one.points || []).map(point => point ? point[axis] * 1.1 : 1)));

// The image of an object and all its points; `unit` is a pixel of the screen in the image's pixels.
export function draw(svg, one, category, { side, unit, chosen = null, names = false, numbers = true, concerned = new Map() }) {
  const [width, height] = sizeOf(one);
  const href = imageAddress(one.image, side);
  let image = svg.querySelector("image");
  if (!image || image.getAttribute("href") !== href) {
    image = shape("image", { href, width, height, preserveAspectRatio: "none" });
    image.addEventListener("error", () => svg.dispatchEvent(new CustomEvent("missing", { detail: href })));
  }
  svg.replaceChildren(image);
  if (one.box) {
    const [x, y, x1, y1] = one.box;
    svg.append(shape("rect", { x, y, width: x1 - x, height: y1 - y, fill: "none", stroke: "#fff", "stroke-width": unit, "stroke-dasharray": unit * 4 }));
  }
  for (const [from, to] of category.skeleton) {
    const [a, b] = [one.points[from - 1], one.points[to - 1]];
    if (a && b) svg.append(shape("line", { x1: a[0], y1: a[1], x2: b[0], y2: b[1], stroke: "#fff", "stroke-opacity": 0.7, "stroke-width": unit * 2 }));
  }
  one.points.forEach((point, number) => {
    if (point) svg.append(pointNode(point, number, category.keypoints[number], { unit, numbers, names, chosen: number === chosen, concerned: concerned.get(number) }));
  });
}

function pointNode([x, y, mark, origin], number, name, { unit, numbers, names, chosen, concerned }) {
  const radius = unit * (numbers ? 10 : 4), group = shape("g", { class: "point", "data-point": number });
  const outline = { cx: x, cy: y, r: radius };
  if (concerned !== undefined) {
    // For dark and for light images a ring on a darker one; broken and thin where other points are concerned first.
    const ring = { ...outline, r: radius + unit * (numbers ? 9 : 4), fill: "none" }, width = unit * (concerned ? 4 : 2);
    group.append(shape("circle", { ...ring, stroke: "#111", "stroke-width": width + unit * 2.5 }));
    group.append(shape("circle", { ...ring, stroke: CONCERNED, "stroke-width": width, ...(concerned ? {} : { "stroke-dasharray": unit * 5 }) }));
  }
  if (chosen && numbers && origin !== "source") {
    // A ring around it, a dot on it, and nothing between: what it is on is seen.
    group.append(shape("circle", { ...outline, r: radius + unit * 4, fill: "transparent", stroke: "#111", "stroke-width": unit * 5 }));
    group.append(shape("circle", { ...outline, r: radius + unit * 4, fill: "none", stroke: "#ff5fdc", "stroke-width": unit * 3 }));
    group.append(shape("circle", { cx: x, cy: y, r: unit * 2, fill: "#ff5fdc", stroke: "#111", "stroke-width": unit }));
    group.append(label(names ? `${number + 1} ${name}` : number + 1, x, y - radius - unit * 8, unit * 13, true));
    return group;
  }
  if (chosen) group.append(shape("circle", { ...outline, r: radius + unit * 4, fill: "none", stroke: "#ff5fdc", "stroke-width": unit * 3 }));
  group.append(shape("circle", {
    ...outline, fill: COLOURS[origin], "fill-opacity": mark === UNMARKED ? 0.35 : 0.95, stroke: "#111", "stroke-width": unit * 1.5,
    ...(mark === UNMARKED || mark === COVERED ? { "stroke-dasharray": unit * 3 } : {}),
  }));
  if (numbers) group.append(label(number + 1, x, y + unit * 4, unit * 12, mark === UNMARKED));
  if (names) group.append(label(name, x, y - radius - unit * 4, unit * 13, true));
  return group;
}

function label(text, x, y, size, onImage) {
  return shape("text", {
    x, y, "font-size": size, "font-weight": 700, "text-anchor": "middle", fill: onImage ? "#fff" : "#111",
    ...(onImage ? { stroke: "#111", "stroke-width": size / 5, "paint-order": "stroke" } : {}),
  }, String(text));
}
