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

function row(item, actions) {
  const choose = button("", () => actions.choose(item.id), { class: "choose" });
  const name = make("input", { type: "text", class: "name", maxlength: 2000, autocomplete: "off", spellcheck: "false" });
  name.addEventListener("change", () => actions.rename(item.id, name.value));
  name.addEventListener("keydown", event => { if (event.key === "Enter") name.blur(); });
  const state = make("span", { class: "faint" });
  const remove = button("×", () => actions.remove(item.id), { class: "plain round" });
  return make("li", { "data-id": item.id }, choose, name, state, remove);
}

// Points or regions, each to choose, name and delete; `kind` is the word for one, `stateOf` says more of it.
export function showRows(list, items, chosen, actions, kind, stateOf) {
  const rows = new Map([...list.children].map(one => [one.dataset.id, one]));
  const expected = items.map(item => {
    const li = rows.get(String(item.id)) || row(item, actions), [choose, name, state, remove] = li.children;
    choose.replaceChildren(swatch(item));
    choose.setAttribute("aria-pressed", String(item.id === chosen));
    choose.setAttribute("aria-label", `Choose ${titleOf(item)}, ${kind === "point" ? `at ${coordinatesOf(item)}` : stateOf(item)}`);
    name.setAttribute("aria-label", `Name of ${kind} ${item.number}`);
    name.setAttribute("placeholder", "name it, if you like");
    if (document.activeElement !== name) name.value = item.name;
    state.textContent = stateOf(item);
    remove.setAttribute("aria-label", `Delete ${titleOf(item)}`);
    li.classList.toggle("chosen", item.id === chosen);
    return li;
  });
  if (expected.length !== rows.size || expected.some((li, index) => list.children[index] !== li)) list.replaceChildren(...expected);
}

export const showPoints = (points, chosen, actions) =>
  showRows($("points"), points, chosen, actions, "point", point => STATES[point.state] || coordinatesOf(point));

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
