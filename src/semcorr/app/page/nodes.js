// Nodes of HTML and SVG.
"use strict";

export const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  node.append(...children);
  return node;
}

export const make = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
export const shape = (tag, attributes = {}, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

export function button(text, act, attributes = {}) {
  const node = make("button", { type: "button", ...attributes }, text);
  node.addEventListener("click", act);
  return node;
}

// A drop-down list's entries; what is chosen stays chosen where it is still there.
export function options(select, values, value) {
  const shown = [...select.options].map(one => one.value);
  if (values.length !== shown.length || values.some((one, index) => one !== shown[index])) {
    select.replaceChildren(...values.map(one => make("option", { value: one }, one)));
  }
  if (value !== undefined && value !== null) select.value = value;
}
