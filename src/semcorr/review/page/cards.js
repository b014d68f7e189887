// The objects of a page, small.
"use strict";
import { $, draw, make, shape, sizeOf } from "./drawing.js";
import { concerned, rating } from "./reasons.js";

const TEXTS = { open: "open", accepted: "accepted", rejected: "rejected" };

export function fill(objects, categoryOf, open) {
  $("cards").replaceChildren(...objects.map(one => card(one, categoryOf(one), open)));
}

export function update(one, category, open) {
  const old = $("cards").querySelector(`[data-number="${one.number}"]`);
  if (old) {
    const current = old.getAttribute("aria-current");
    const fresh = card(one, category, open);
    if (current) fresh.setAttribute("aria-current", current);
    old.replaceWith(fresh);
  }
}

export function mark(number) {
  for (const card of $("cards").children) {
    if (+card.dataset.number === number) card.setAttribute("aria-current", "true");
    else card.removeAttribute("aria-current");
  }
}

function card(one, category, open) {
  const [width, height] = sizeOf(one), { name, value } = rating(one);
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  draw(svg, one, category, { side: 240, unit: Math.max(width / 140, height / 120), numbers: false, concerned: concerned(one) });
  const caption = make("span", { class: "caption" }, make("span", { class: "file" }, make("bdi", {}, one.file)), make("span", {}, value));
  const state = make("span", { class: "caption state" }, TEXTS[one.decision]);
  const label = `${one.file}, ${category.name}, ${name} ${value}, ${TEXTS[one.decision]}`;
  const button = make("button", { type: "button", class: `card ${one.decision}`, "data-number": one.number, "aria-label": label }, svg, caption, state);
  button.addEventListener("click", () => open(one.number));
  return button;
}
