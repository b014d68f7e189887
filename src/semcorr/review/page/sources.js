// Beside the object: its key-points as a list, and the annotated objects that they came from.
"use strict";
import { $, draw, make, shape, sizeOf } from "./drawing.js";
import { ask } from "./server.js";
import { concerned } from "./reasons.js";
import { COVERED, UNMARKED } from "./states.js";

export function showPoints(one, category, chosen, choose) {
  const listed = concerned(one);
  $("points").replaceChildren(...category.keypoints.map((name, number) => {
    const point = one.points[number], predicted = one.predicted[number];
    const kind = point ? point[3] : "none", said = describe(point);
    const sure = predicted && predicted[2] !== null ? predicted[2].toFixed(2) : "";
    const mark = listed.has(number) ? `, ${listed.get(number) ? "suspicious" : "perhaps suspicious"}` : "";
    const swatch = make("span", { class: `swatch ${kind}${point && point[2] === UNMARKED ? " unmarked" : ""}`, "aria-hidden": "true" }, String(number + 1));
    const row = make("button", { type: "button", "aria-pressed": number === chosen, "aria-label": `${number + 1} ${name}, ${said}${sure && `, confidence ${sure}`}${mark}` },
      swatch, make("span", {}, name), ...(listed.get(number) ? [make("span", { class: "listed", "aria-hidden": "true" }, "!")] : []), make("span", { class: "sure" }, `${said}${sure && ` ${sure}`}`));
    row.addEventListener("click", () => choose(number === chosen ? null : number));
    return make("li", {}, row);
  }));
}

function describe(point) {
  if (!point) return "none";
  const who = { predicted: "predicted", accepted: "accepted", placed: "yours", annotated: "annotated" }[point[3]];
  return point[2] === UNMARKED ? "doubtful" : point[2] === COVERED ? `${who}, covered` : who;
}

let shown = "", answered = { key: "" };

// The annotated objects that an object's points came from; of a chosen point those first that speak for it most.
export async function showSources(one, category, chosen) {
  const key = JSON.stringify([one.number, category.name, one.predicted]), asked = `${key} ${chosen}`;
  if (asked === shown) return;
  shown = asked;
  if (answered.key !== key) {
    const answer = await ask(`api/sources?number=${one.number}`);
    if (asked !== shown) return;  // another object or point is shown meanwhile
    answered = { key, ...answer };
  }
  $("sources-title").textContent = answered.recorded ? "Its points came from" : "Annotated objects of this category";
  const known = answered.sources.some(source => source.votes);
  $("votes").textContent = !known ? "" : chosen === null ? "The number: how much each speaks for its points." : `The number: how much each speaks for ${category.keypoints[chosen]}.`;
  const sources = answered.sources.map(source => ({ ...source, vote: known ? voteOf(source, chosen) : null }));
  $("sources").replaceChildren(...sources.sort((a, b) => (b.vote ?? -1) - (a.vote ?? -1)).map(source => figure(source, category, chosen)));
}

// For the chosen point, or the mean over all points.
function voteOf(source, chosen) {
  const votes = (chosen === null ? source.votes : [source.votes[chosen]]).filter(vote => vote !== null);
  return votes.length ? votes.reduce((sum, vote) => sum + vote, 0) / votes.length : null;
}

function figure(source, category, chosen) {
  const [width, height] = sizeOf(source), vote = source.vote === null ? "" : source.vote.toFixed(2);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${source.file}, annotated${vote && `, ${vote}`}` });
  const points = source.points.map(point => point && [...point, 2, "source"]);
  draw(svg, { ...source, points, box: null }, category, { side: 1600, unit: Math.max(width / 260, height / 260), chosen });
  return make("figure", {}, svg, make("figcaption", { class: "caption" }, make("span", {}, source.file), make("span", { class: "vote" }, vote)));
}
