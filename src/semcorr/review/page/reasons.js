// Why a check lists an object, and the points that are concerned.
"use strict";
import { $, make } from "./drawing.js";

// By number: whether it is what a reason is about first. One point that is far off makes others look so.
export function concerned(one) {
  const points = new Map();
  for (const { kind, points: listed } of one.reasons) {
    listed.forEach((number, rank) => points.set(number, points.get(number) || kind !== "far" || rank === 0));
  }
  return points;
}

// A number for lists: how suspicious an object is, or the score of its prediction.
export function rating(one) {
  if (one.reasons.length) return { name: "suspicion", value: one.reasons[0].suspicion.toFixed(2) };
  return { name: "score", value: one.score === null ? "–" : one.score.toFixed(2) };
}

// The first order of points that would put the object right, or null.
export const order = one => one.reasons.find(reason => reason.exchange)?.exchange ?? null;

export function show(one, exchange) {
  const first = order(one);
  $("reasons").replaceChildren(...one.reasons.map(reason => {
    const row = make("li", {}, make("span", { class: "how" }, reason.suspicion.toFixed(2)), ` ${reason.reason}. `);
    if (reason.exchange) {
      const button = make("button", { type: "button" }, "Put right", ...(reason.exchange === first ? [" ", make("kbd", {}, "X")] : []));
      button.addEventListener("click", () => exchange(reason.exchange));
      row.append(button);
    }
    return row;
  }));
}
