// A point as it is drawn over an image, and in words. Sizes are pixels of the screen, whatever part of the image is seen.
"use strict";
import { shape } from "./nodes.js";

const RING = 11, BADGE = 9, INK = "#14181d";

export const rounded = value => Math.round(value * 10) / 10;
export const coordinatesOf = point => `${rounded(point.x)}, ${rounded(point.y)}`;
const known = point => point.x !== null && point.x !== undefined;

// A confidence as a number: a probability in percent, or a rank as it is.
export function sureness(point) {
  if (point.confidence === null || point.confidence === undefined) return "";
  return point.calibrated === false ? point.confidence.toFixed(2) : `${Math.round(point.confidence * 100)} %`;
}

// How sure a location is, in words.
export function stateOf(point) {
  const number = sureness(point), sure = number && (point.calibrated === false ? `confidence ${number}, uncalibrated` : `${number} sure`);
  return {
    missing: "not found yet", incomplete: "not found in every target yet", corrected: "set by hand", accepted: "accepted",
    outdated: `${sure}, of the point’s earlier location: find again`,
  }[point.state] || sure;
}

// A point without a name has its number as its label.
export const titleOf = point => point.label === String(point.number) ? `point ${point.number}` : point.label;
const wordsOf = point => [`${titleOf(point)}${known(point) ? ` at ${coordinatesOf(point)}` : ""}`, stateOf(point)].filter(Boolean).join(", ");

// What an image shows, in a sentence.
export function describe(image, points) {
  if (!image) return "";
  const count = points.length === 1 ? "1 point" : `${points.length || "no"} points`;
  return `${image.name}, ${count}${points.length ? `: ${points.map(wordsOf).join("; ")}` : ""}.`;
}

function arc(share, attributes) {
  const around = 2 * Math.PI * RING;
  return shape("circle", {
    r: RING, fill: "none", "stroke-dasharray": `${share * around} ${around}`, transform: "rotate(-90)", ...attributes,
  });
}

// The group of a point; `reach` is the radius within which it is hit.
export function mark(point, { chosen, reach, operable }) {
  const group = shape("g", {
    class: `point ${point.state || ""}${chosen ? " chosen" : ""}`, "data-point": point.id,
    ...(operable ? { role: "button", tabindex: 0, "aria-label": wordsOf(point), "aria-pressed": String(chosen) } : {}),
  });
  group.append(shape("circle", { class: "reach", r: reach, fill: "transparent" }));
  if (chosen) group.append(shape("circle", { class: "halo", r: RING + 4.5, fill: "none" }));
  group.append(shape("circle", { class: "focus", r: RING + 8, fill: "none" }));
  const byHand = point.state === "corrected" || point.state === "accepted";
  const share = byHand ? 1 : point.confidence;
  if (share !== null && share !== undefined) {
    group.append(shape("circle", { r: RING, fill: "none", stroke: INK, "stroke-width": 5, "stroke-opacity": 0.72 }));
    group.append(arc(Math.max(share, 0.01), { class: "sure", stroke: point.colour, "stroke-width": 3 }));
  } else if (point.state === "incomplete") {
    group.append(shape("circle", { r: RING, fill: "none", stroke: INK, "stroke-width": 3, "stroke-opacity": 0.72 }));
    group.append(shape("circle", { r: RING, fill: "none", stroke: "#fff", "stroke-width": 1.5, "stroke-dasharray": "3 3" }));
  }
  group.append(shape("circle", { r: 4.5, fill: point.colour, stroke: "#fff", "stroke-width": 2 }));
  group.append(shape("circle", { r: 5.8, fill: "none", stroke: INK, "stroke-width": 1 }));
  const badge = shape("g", { class: "badge" }, shape("circle", { r: BADGE, fill: point.colour, stroke: INK, "stroke-width": 1 }),
    shape("text", { y: 4, "text-anchor": "middle" }, String(point.number)));
  if (byHand) badge.append(shape("text", { class: "tick", x: BADGE + 7, y: 5, "text-anchor": "middle" }, point.state === "accepted" ? "✓" : "✎"));
  group.append(badge);
  return group;
}

// Put a group at its location; `unit` is a pixel of the screen in the image's pixels, `view` the part that is seen.
export function position(group, point, unit, [left, top, width]) {
  group.setAttribute("transform", `translate(${point.x} ${point.y}) scale(${unit})`);
  const across = point.x > left + width - 30 * unit ? -16 : 16, down = point.y < top + 26 * unit ? 13 : -13;
  group.querySelector(".badge").setAttribute("transform", `translate(${across} ${down})`);
}

// The line from a predicted location to the true one.
export function truth(point, unit) {
  const [x, y] = point.truth;
  return shape("g", { class: "truth" },
    shape("line", { x1: point.x, y1: point.y, x2: x, y2: y, stroke: INK, "stroke-width": unit * 4, "stroke-opacity": 0.6 }),
    shape("line", { x1: point.x, y1: point.y, x2: x, y2: y, stroke: point.colour, "stroke-width": unit * 2 }),
    shape("circle", { cx: x, cy: y, r: unit * 8, fill: "none", stroke: INK, "stroke-width": unit * 4 }),
    shape("circle", { cx: x, cy: y, r: unit * 8, fill: "none", stroke: point.colour, "stroke-width": unit * 2 }));
}
