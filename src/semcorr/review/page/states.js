// States of an object: what each action makes of one. A point is [x, y, mark, origin] or null; marks are COCO's.
"use strict";

export const VISIBLE = 2, COVERED = 1, UNMARKED = 0;

export const same = (one, other) => JSON.stringify(one) === JSON.stringify(other);

const marked = mark => mark === UNMARKED ? VISIBLE : mark;

function withPoint(state, number, point) {
  const points = state.points.map((old, index) => index === number ? point : old);
  return { ...state, decision: state.decision === "rejected" ? "open" : state.decision, points };
}

export function accept(state) {
  const points = state.points.map(point => point && [point[0], point[1], marked(point[2]), point[3] === "predicted" ? "accepted" : point[3]]);
  return { ...state, decision: "accepted", points };
}

export const reject = state => ({ ...state, decision: "rejected" });

export function acceptPoint(state, number, predicted) {
  const point = state.points[number] || (predicted && [predicted[0], predicted[1], VISIBLE, "predicted"]);
  if (!point) return state;
  return withPoint(state, number, [point[0], point[1], marked(point[2]), point[3] === "predicted" ? "accepted" : point[3]]);
}

export const removePoint = (state, number) => withPoint(state, number, null);

export function setPoint(state, number, x, y, size) {
  const inside = (value, most) => Math.round(Math.min(Math.max(value, 0), most) * 100) / 100;
  const old = state.points[number];
  return withPoint(state, number, [inside(x, size[0]), inside(y, size[1]), old ? marked(old[2]) : VISIBLE, "placed"]);
}

export function coverPoint(state, number) {
  const old = state.points[number];
  if (!old) return state;
  return withPoint(state, number, [old[0], old[1], old[2] === COVERED ? VISIBLE : COVERED, old[3] === "predicted" ? "accepted" : old[3]]);
}

// Points in another order: by key-point, the number of that whose location it gets.
export function reorder(state, order) {
  const points = order.map((from, number) => {
    const point = state.points[from];
    return from === number || !point ? point : [point[0], point[1], marked(point[2]), "placed"];
  });
  return { ...state, decision: state.decision === "rejected" ? "open" : state.decision, points };
}

// The order in which two points are exchanged.
export const exchange = (state, one, other) => state.points.map((_, number) => number === one ? other : number === other ? one : number);

// Another category: points of the same names stay.
export function recategorize(state, from, to) {
  const points = to.keypoints.map(name => state.points[from.keypoints.indexOf(name)] ?? null);
  return { category: to.name, decision: state.decision === "rejected" ? "open" : state.decision, points };
}

// What `before` became `after` by, done to `now`; null where both changed the same.
export function rebased(before, after, now) {
  if (same(before, now)) return after;
  const alike = now.category === before.category && now.decision === before.decision && after.category === before.category;
  if (!alike) return null;
  const points = [];
  for (const [number, point] of after.points.entries()) {
    if (same(point, before.points[number])) points.push(now.points[number]);
    else if (same(now.points[number], before.points[number])) points.push(point);
    else return null;
  }
  return { ...after, points };
}
