// Beside the object: its key-points as a list, and the annotated objects that they came from.
"use strict";
import { $, draw, make, shape, sizeOf } from "./drawing.js";
import { COVERED, UNMARKED } from "./states.js";

export function showPoints(one, category, chosen, choose) {
  $("points").replaceChildren(...category.keypoints.map((name, number) => {
    const point = one.points[number], predicted = one.predicted[number];
    const kind = point ? point[3] : "none", said = describe(point);
    const sure = predicted && predicted[2] !== null ? predicted[2].toFixed(2) : "";
    const swatch = make("span", { class: `swatch ${kind}${point && point[2] === UNMARKED ? " unmarked" : ""}`, "aria-hidden": "true" }, String(number + 1));
    const row = make("button", { type: "button", "aria-pressed": number === chosen, "aria-label": `${number + 1} ${name}, ${said}${sure && `, confidence ${sure}`}` },
      swatch, make("span", {}, name), make("span", { class: "sure" }, `${said}${sure && ` ${sure}`}`));
    row.addEventListener("click", () => choose(number));
    return make("li", {}, row);
  }));
}

function describe(point) {
  if (!point) return "none";
  const who = { predicted: "predicted", accepted: "accepted", placed: "yours" }[point[3]];
  return point[2] === UNMARKED ? "doubtful" : point[2] === COVERED ? `${who}, covered` : who;
}

export function showSources(sources, recorded, category, chosen) {
  $("sources-title").textContent = recorded ? "Its points came from" : "Annotated objects of this category";
  $("sources").replaceChildren(...sources.map(source => {
    const [width, height] = sizeOf(source);
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${source.file}, annotated` });
    const points = source.points.map(point => point && [...point, 2, "source"]);
    draw(svg, { ...source, points, box: null }, category, { side: 1600, unit: Math.max(width / 260, height / 260), chosen });
    return make("figure", {}, svg, make("figcaption", {}, source.file));
  }));
}
