// An image with a heat map and numbered points, which can be placed, chosen, moved and removed by mouse, touch and
// keyboard, closer and farther. Coordinates are continuous pixels of the original image.
"use strict";
import { describe, mark, coordinatesOf, position, rounded, stateOf, titleOf, truth } from "./marks.js";
import { brush } from "./brush.js";
import { make, shape } from "./nodes.js";
import { viewport } from "./viewport.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const SAVE = 500;         // milliseconds after the last arrow until a point counts as moved
const TWICE = 400;        // milliseconds between two clicks of a double click
const SAME = 3;           // pixels of the screen: a click that is closer is on the point itself
const coarse = matchMedia("(pointer: coarse)");
let count = 0;

export function imageView(container, { name }) {
  const id = `image-view-${count += 1}`;
  let shown = { image: null, points: [], heat: null, opacity: 0.7, mode: "view", chosen: null }, cross = null, moving = null, drawing = false, chosenAt = -Infinity, laid = null;
  const listeners = {};
  const tell = (what, ...values) => listeners[what] && listeners[what](...values);

  const image = shape("image", { class: "base", preserveAspectRatio: "none" });
  const heat = shape("image", { class: "heat", preserveAspectRatio: "none" });
  const lines = shape("g"), points = shape("g"), crossing = shape("g", { class: "cross" });
  const painter = brush(corners => tell("stroke", corners));
  const stage = shape("svg", { class: "stage", tabindex: 0, "aria-describedby": `${id}-words` }, image, heat, painter.group, lines, points, crossing);
  const tip = make("div", { class: "tip", "aria-hidden": "true" });
  const words = make("p", { id: `${id}-words`, class: "hidden" }), where = make("span", { class: "where", "aria-live": "polite" });
  const zoomed = ["Zoom in", "Zoom out", "All of it"].map((label, index) => {
    const button = make("button", { type: "button", class: "round" }, ["+", "−", "⤢"][index]);
    button.addEventListener("click", () => index === 2 ? view.reset() : view.step(index ? -1 : 1));
    return button;
  });
  const frame = make("div", { class: "frame" }, stage, tip);
  const bar = make("div", { class: "under" }, where, make("div", { class: "zoom", role: "group", "aria-label": "Zoom" }, ...zoomed));
  const root = make("div", { class: "image-view" }, frame, bar, words);
  container.append(root);

  // Under a brush, what lies over the image stays until what follows it is loaded.
  function lay() {
    const address = shown.heat;
    const set = () => {
      if (address !== shown.heat) return;
      if (address) heat.setAttribute("href", address); else heat.removeAttribute("href");
    };
    if (!address || !paints() || !heat.hasAttribute("href")) return void set();
    if (heat.getAttribute("href") === address) return;
    const next = new Image();
    next.src = address;
    laid = next.decode().catch(() => {}).then(set);
  }

  const find = key => shown.points.find(point => String(point.id) === key);
  const located = () => shown.points.filter(point => point.x !== null && point.x !== undefined);
  const view = viewport(stage, {
    tap: (x, y, key, event) => {
      stop();
      if (key !== null && !isElsewhere(x, y, find(key), event)) {
        chosenAt = event.timeStamp;
        tell("choose", find(key).id);
      } else if (paints()) painter.dab(x, y);
      else if (shown.mode !== "view") tell("mark", x, y);
    },
    // A finger moves only what was chosen before: a swipe that begins on a point scrolls.
    grip: (key, event) => shown.mode !== "view" && (event.pointerType === "mouse" || isChosen(find(key))),
    drag: (key, x, y) => follow(find(key), x, y),
    drop: (key, x, y) => { follow(find(key), x, y); tell("move", find(key).id, x, y); },
    cancel: () => draw(),
    // With Shift a drag moves the image, as without a brush.
    paints: event => paints() && !event?.shiftKey,
    paint: painter.paint,
    painted: painter.end,
    unpainted: painter.cancel,
    changed: () => arrange(),
    anchor: () => cross || focused() && [focused().x, focused().y],
  });

  const paints = () => shown.mode === "paint";
  const isChosen = point => Boolean(point) && (point.chosen ?? point.id === shown.chosen);

  // Whether a click on the chosen point, whose ring reaches far, is elsewhere: the point is put there.
  const isElsewhere = (x, y, point, event) => shown.mode === "move" && isChosen(point) && event.timeStamp - chosenAt > TWICE
    && Math.hypot(x - point.x, y - point.y) > SAME * view.unit;

  function focused() {
    const group = document.activeElement && stage.contains(document.activeElement) ? document.activeElement.closest("[data-point]") : null;
    return group ? find(group.dataset.point) : null;
  }

  function draw() {
    const kept = focused(), operable = Boolean(listeners.choose);
    const reach = coarse.matches ? 22 : 14;
    drawing = true;  // a point that is drawn anew does not lose the focus
    points.replaceChildren(...located().map(point => mark(point, { chosen: isChosen(point), reach, operable })));
    // The chosen point lies on top; but who goes from point to point by keyboard finds them in their order.
    if (!kept) points.append(...points.querySelectorAll(".chosen"));
    arrange();
    if (kept) points.querySelector(`[data-point="${CSS.escape(String(kept.id))}"]`)?.focus({ preventScroll: true });
    drawing = false;
  }

  function arrange() {
    const [left, top, width, height] = view.view;
    for (const group of points.children) position(group, find(group.dataset.point), view.unit, [left, top, width, height]);
    lines.replaceChildren(...located().filter(point => point.truth).map(point => truth(point, view.unit)));
    const [x, y] = cross || [0, 0], arm = 14 * view.unit;
    crossing.replaceChildren(...(cross ? ["#14181d", "#fff"].map((stroke, index) => shape("path", {
      d: `M${x - arm} ${y}H${x + arm}M${x} ${y - arm}V${y + arm}`, stroke, "stroke-width": (index ? 1.5 : 4) * view.unit,
    })) : []));
    hideTip();
  }

  function follow(point, x, y) {
    [point.x, point.y] = [x, y];
    arrange();
    showTip(point);
  }

  function showTip(point) {
    const [left, top, width, height] = view.view;
    tip.replaceChildren(make("b", {}, titleOf(point)), ...[stateOf(point), coordinatesOf(point)].filter(Boolean).map(text => make("span", {}, text)));
    tip.classList.add("shown");
    const across = (point.x - left) / width * stage.clientWidth, down = (point.y - top) / height * stage.clientHeight;
    tip.style.left = `${Math.min(Math.max(across - tip.offsetWidth / 2, 4), Math.max(4, stage.clientWidth - tip.offsetWidth - 4))}px`;
    tip.style.top = `${down > tip.offsetHeight + 30 ? down - tip.offsetHeight - 26 : down + 26}px`;
  }
  const hideTip = () => tip.classList.remove("shown");

  for (const [on, off] of [["pointerover", "pointerout"], ["focusin", "focusout"]]) {
    stage.addEventListener(on, event => {
      const group = event.target.closest("[data-point]");
      if (!group || (on === "focusin" && !group.matches(":focus-visible"))) return;
      const point = find(group.dataset.point);
      if (on === "focusin") view.reveal(point.x, point.y);
      showTip(point);
    });
    stage.addEventListener(off, hideTip);
  }

  stage.addEventListener("pointermove", event => painter.hover(paints() && event.pointerType !== "touch" ? view.locate(event) : null, view.unit));
  stage.addEventListener("pointerleave", () => painter.hover(null));

  // --- keys ---

  // What arrows moved is sent once they rest.
  function stop() {
    if (!moving) return;
    clearTimeout(moving.timer);
    const { point } = moving;
    moving = null;
    tell("move", point.id, point.x, point.y);
  }

  function step(event, [across, down]) {
    const length = event.shiftKey ? 10 : 1, size = shown.image.size;
    const within = (at, delta) => at.map((value, axis) => Math.min(Math.max(value + delta[axis] * length, 0), size[axis]));
    const point = focused();
    if (!point) {
      // The first arrow shows the cross-hair: in the middle of what is seen, on the middle of a pixel.
      cross = cross ? within(cross, [across, down]) : view.centre.map(value => Math.floor(value) + 0.5);
      view.reveal(...cross);
      arrange();
      where.textContent = `${rounded(cross[0])}, ${rounded(cross[1])}`;
      return;
    }
    const [x, y] = within([point.x, point.y], [across, down]);
    view.reveal(x, y);
    follow(point, x, y);
    where.textContent = coordinatesOf(point);
    clearTimeout(moving?.timer);
    moving = { point, timer: setTimeout(stop, SAVE) };
  }

  stage.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || !shown.image) return;
    const point = focused(), arrow = ARROWS[event.key];
    let done = true;
    if (arrow && shown.mode !== "view") step(event, arrow);
    else if (event.key === "Enter" || event.key === " ") {
      stop();
      if (point) tell("choose", point.id);
      else if (cross && paints()) painter.dab(...cross, event.shiftKey);
      else if (cross && shown.mode !== "view") tell("mark", ...cross);
      else done = false;
    } else if (point && (event.key === "Delete" || event.key === "Backspace")) tell("remove", point.id);
    else done = false;
    if (done) event.preventDefault();
  });
  stage.addEventListener("focusout", event => {
    if (drawing) return;
    stop();
    if (event.target !== stage) return;
    cross = null;
    where.textContent = "";
    arrange();
  });

  return {
    // The line under the image, for what else is said of it.
    bar,
    show(next) {
      const before = shown.image;
      // A point under a finger or an arrow stays where it is shown.
      const points = (next.points || []).map(point => moving && point.id === moving.point.id ? { ...point, x: moving.point.x, y: moving.point.y } : { ...point });
      shown = { opacity: 0.7, mode: "view", chosen: null, heat: null, ...next, points };
      if (moving) moving.point = points.find(point => point.id === moving.point.id) || moving.point;
      root.hidden = !shown.image;
      if (!shown.image) return;
      const [width, height] = shown.image.size;
      if (!before || before.address !== shown.image.address) {
        image.setAttribute("href", shown.image.address);
        stage.style.aspectRatio = `${width} / ${height}`;
        frame.style.setProperty("--aspect", width / height);
        cross = null;
        painter.forget();
      }
      painter.use(shown.brush);
      for (const layer of [image, heat]) { layer.setAttribute("width", width); layer.setAttribute("height", height); }
      lay();
      heat.style.opacity = shown.opacity;
      stage.classList.toggle("placing", shown.mode !== "view");
      stage.setAttribute("role", shown.mode === "view" && !listeners.choose ? "img" : "application");
      stage.setAttribute("aria-label", `${name}: ${shown.image.name}`);
      words.textContent = shown.description || describe(shown.image, shown.points);
      zoomed.forEach((button, index) => button.setAttribute("aria-label", `${["Zoom in", "Zoom out", "Show all"][index]}: ${name}, ${shown.image.name}`));
      view.show([width, height]);
      view.takeSwipes();
      draw();
    },
    // Until what was given last to lie over the image does.
    laid: () => laid,
    on(what, listener) { listeners[what] = listener; },
    destroy() { stop(); view.destroy(); root.remove(); },
  };
}
