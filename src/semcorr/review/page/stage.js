// The object that is worked on: its image large, points to choose, drag and set, closer and farther.
"use strict";
import { $, draw, sizeOf } from "./drawing.js";
import { viewport } from "./viewport.js";

const TWICE = 400, SAME = 3;  // milliseconds between two clicks of a double click; pixels of the screen
let shown = null, view = null, dragged = false, chosenAt = -Infinity, listeners = {};

export function start(handlers) {
  listeners = handlers;
  const stage = $("stage");
  view = viewport(stage, {
    tap(x, y, id, event) {
      if (id === null || isElsewhere(x, y, +id, event)) listeners.click(x, y);
      else {
        chosenAt = event.timeStamp;
        listeners.choose(+id);
      }
    },
    // A finger moves only what was chosen before: a swipe that begins on a point scrolls.
    grip: (id, event) => event.pointerType === "mouse" || +id === shown.options.chosen,
    drag: follow,
    drop(id, x, y) {
      dragged = false;
      listeners.set(+id, x, y);
    },
    cancel() {
      dragged = false;
      paint();
    },
    changed: paint,
    anchor,
  });
  stage.addEventListener("missing", event => listeners.missing(event.detail));
}

// Whether a click on the chosen point, whose ring reaches far, is elsewhere: the point is set there.
function isElsewhere(x, y, id, event) {
  if (id !== shown.options.chosen || event.timeStamp - chosenAt < TWICE) return false;
  const [atX, atY] = shown.one.points[id];
  return Math.hypot(x - atX, y - atY) > SAME * view.unit;
}

// The point's own node follows: a finger's events end with the node that it touched.
function follow(id, x, y) {
  const [fromX, fromY] = shown.one.points[id];
  dragged = true;
  $("stage").querySelector(`[data-point="${id}"]`).setAttribute("transform", `translate(${x - fromX} ${y - fromY})`);
}

// What zooming by key or button is about: the chosen point, or the middle of the object.
function anchor() {
  const { one, options } = shown, known = one.points.filter(Boolean);
  if (options.chosen !== null && one.points[options.chosen]) return one.points[options.chosen].slice(0, 2);
  return known.length ? [0, 1].map(axis => known.reduce((sum, point) => sum + point[axis], 0) / known.length) : null;
}

function paint() {
  if (!shown || dragged) return;
  const { one, category, options } = shown;
  draw($("stage"), one, category, { side: 1600, unit: view.unit, ...options });
}

export function show(one, category, options) {
  const stage = $("stage"), another = !shown || shown.one.number !== one.number;
  shown = { one, category, options };
  view.show(sizeOf(one));
  if (another) view.reset();
  else paint();
  stage.classList.toggle("placing", options.chosen !== null);
  const known = one.points.filter(Boolean).length;
  stage.setAttribute("aria-label", `${one.file}: ${category.name} with ${known} of ${category.keypoints.length} points`);
}

export const step = direction => shown && view.step(direction);
export const whole = () => shown && view.reset();
