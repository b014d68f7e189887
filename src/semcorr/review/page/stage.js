// The object that is worked on: its image large, points to choose, drag and set, closer and farther.
"use strict";
import { $, draw, sizeOf } from "./drawing.js";

let shown = null, view = null, dragged = null, listeners = {};

export function start(handlers) {
  listeners = handlers;
  const stage = $("stage");
  stage.addEventListener("pointerdown", event => {
    const number = numberAt(event);
    if (number === null || event.button !== 0) return;
    stage.setPointerCapture(event.pointerId);
    dragged = { number, moved: false, from: [event.clientX, event.clientY] };
    listeners.choose(number);
  });
  stage.addEventListener("pointermove", event => {
    if (!dragged) return;
    dragged.moved ||= Math.hypot(event.clientX - dragged.from[0], event.clientY - dragged.from[1]) > 3;
    if (dragged.moved) listeners.preview(dragged.number, ...located(event));
  });
  stage.addEventListener("pointerup", event => {
    const { number, moved } = dragged || {};
    dragged = null;
    if (moved) listeners.set(number, ...located(event));
    stage.dataset.dragged = moved ? "1" : "";
  });
  stage.addEventListener("pointercancel", () => { dragged = null; listeners.redraw(); });
  // A swipe that scrolls makes no click.
  stage.addEventListener("click", event => {
    const ended = stage.dataset.dragged;
    stage.dataset.dragged = "";
    if (ended || numberAt(event) !== null) return;
    listeners.click(...located(event));
  });
  stage.addEventListener("missing", event => listeners.missing(event.detail));
  new ResizeObserver(() => shown && listeners.redraw()).observe(stage);
}

function numberAt(event) {
  const group = event.target.closest(".point");
  return group ? +group.dataset.number : null;
}

function located(event) {
  const matrix = $("stage").getScreenCTM().inverse();
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix);
  return [x, y];
}

export function show(one, category, { chosen, names }) {
  const stage = $("stage");
  if (!shown || shown.number !== one.number) view = null;
  shown = one;
  const [width, height] = sizeOf(one);
  view ||= { x: 0, y: 0, width, height };
  stage.setAttribute("viewBox", `${view.x} ${view.y} ${view.width} ${view.height}`);
  const unit = 1 / Math.min(stage.clientWidth / view.width, stage.clientHeight / view.height);
  draw(stage, one, category, { side: 1600, unit, chosen, names });
  stage.classList.toggle("placing", chosen !== null);
  const known = one.points.filter(Boolean).length;
  stage.setAttribute("aria-label", `${one.file}: ${category.name} with ${known} of ${category.keypoints.length} points`);
}

// Zoom about the chosen point, or the middle of the object.
export function zoom(factor, chosen) {
  if (!shown) return;
  const [width, height] = sizeOf(shown), known = shown.points.filter(Boolean);
  const middle = axis => known.length ? known.reduce((sum, point) => sum + point[axis], 0) / known.length : sizeOf(shown)[axis] / 2;
  const [x, y] = (chosen !== null && shown.points[chosen]) || [middle(0), middle(1)];
  const size = { width: Math.min(width, view.width / factor), height: Math.min(height, view.height / factor) };
  const within = (centre, extent, most) => Math.min(Math.max(centre - extent / 2, 0), most - extent);
  view = { x: within(x, size.width, width), y: within(y, size.height, height), ...size };
  listeners.redraw();
}

