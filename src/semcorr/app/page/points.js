// The points as a list, to name, choose and delete, and as chips beside the results.
"use strict";
import { coordinatesOf, titleOf } from "./marks.js";
import { $, button, make } from "./nodes.js";

const STATES = { incomplete: "not found everywhere", new: "", found: "" };

export function swatch(point) {
  const shown = make("span", { class: "swatch", "aria-hidden": "true" }, String(point.number));
  shown.style.backgroundColor = point.colour;
  return shown;
}

function row(point, actions) {
  const choose = button("", () => actions.choose(point.id), { class: "choose" });
  const name = make("input", { type: "text", class: "name", maxlength: 2000, autocomplete: "off", spellcheck: "false" });
  name.addEventListener("change", () => actions.rename(point.id, name.value));
  name.addEventListener("keydown", event => { if (event.key === "Enter") name.blur(); });
  const state = make("span", { class: "faint" });
  const remove = button("×", () => actions.remove(point.id), { class: "plain round" });
  return make("li", { "data-id": point.id }, choose, name, state, remove);
}

export function showPoints(points, chosen, actions) {
  const rows = new Map([...$("points").children].map(one => [one.dataset.id, one]));
  const expected = points.map(point => {
    const li = rows.get(String(point.id)) || row(point, actions), [choose, name, state, remove] = li.children;
    choose.replaceChildren(swatch(point));
    choose.setAttribute("aria-pressed", String(point.id === chosen));
    choose.setAttribute("aria-label", `Choose ${titleOf(point)}, at ${coordinatesOf(point)}`);
    name.setAttribute("aria-label", `Name of point ${point.number}`);
    name.setAttribute("placeholder", "name it, if you like");
    if (document.activeElement !== name) name.value = point.name;
    state.textContent = STATES[point.state] || coordinatesOf(point);
    remove.setAttribute("aria-label", `Delete ${titleOf(point)}`);
    li.classList.toggle("chosen", point.id === chosen);
    return li;
  });
  if (expected.length !== rows.size || expected.some((li, index) => $("points").children[index] !== li)) $("points").replaceChildren(...expected);
}

export function showChips(points, chosen, choose) {
  const chips = [null, ...points].map(point => {
    const chip = button("", () => choose(point ? point.id : null), { class: "chip", "aria-pressed": String((point ? point.id : null) === chosen), "data-id": point ? point.id : "" });
    chip.append(...(point ? [swatch(point), point.name || `Point ${point.number}`] : ["All points"]));
    return chip;
  });
  const focused = $("chips").contains(document.activeElement) ? document.activeElement.dataset.id : null;
  $("chips").replaceChildren(...chips);
  if (focused !== null) chips.find(chip => chip.dataset.id === focused)?.focus({ preventScroll: true });
}
