// Zoom, pan, taps and drags of one image in an svg element, through its viewBox. It knows points only as elements with
// the attribute `data-point`. The page decides what a tap or a drag means:
//   tap(x, y, id, event)   a click or tap; id is the point's, or null
//   grip(id, event)        whether a drag that begins on a point moves it
//   drag(id, x, y), drop(id, x, y), cancel(id)
//   paints(event)          whether a drag paints, wherever it begins
//   paint(x, y), painted(), unpainted()
//   changed()              another part of the image is shown, or at another size
//   anchor()               [x, y] that zooming by key is about, or null for the middle
// All coordinates are continuous pixels of the image: (0, 0) is its top-left corner.
"use strict";

const SLOP = { mouse: 4, pen: 6, touch: 10 };   // pixels of the screen that a tap may move
const LATCH = 350;                              // milliseconds after which a turn of the wheel is another one
const STEP = 1.5, WHEEL = 0.002, LINE = 40;
const CLOSEST = 16;                             // pixels of the screen for a pixel of the image

let scrolled = -Infinity;                       // when the wheel last scrolled the page

export function viewport(stage, listeners) {
  let size = [1, 1], zoom = 1, centre = [0.5, 0.5], box = { width: 1, height: 1 };
  let gesture = null, turned = -Infinity;
  const pointers = new Map();
  const tell = (what, ...values) => listeners[what] ? listeners[what](...values) : null;

  // The smallest view of the stage's shape that holds all of the image.
  const whole = () => Math.max(size[0] / box.width, size[1] / box.height);
  const unit = () => whole() / zoom;
  const farthest = () => Math.max(8, whole() * CLOSEST);

  // At its smallest a swipe scrolls the page; zoomed, it moves the image; a brush paints at any size.
  function takeSwipes() {
    stage.style.touchAction = zoom > 1 || tell("paints") ? "none" : "pan-x pan-y";
  }

  function apply() {
    zoom = Math.min(Math.max(zoom, 1), farthest());
    const extent = [box.width * unit(), box.height * unit()];
    // Where the image fills the stage, nothing is left empty; where it does not, what is zoomed about stays where it is.
    centre = centre.map((value, axis) => {
      const margin = extent[axis] * zoom > size[axis] * 1.001 ? 0 : extent[axis] / 2;
      return zoom === 1 ? size[axis] / 2 : Math.min(Math.max(value, margin), size[axis] - margin);
    });
    stage.setAttribute("viewBox", [centre[0] - extent[0] / 2, centre[1] - extent[1] / 2, ...extent].join(" "));
    takeSwipes();
    stage.classList.toggle("zoomed", zoom > 1);
    tell("changed");
  }

  function locate({ clientX, clientY }) {
    const at = stage.getBoundingClientRect();
    return [centre[0] + (clientX - at.left - at.width / 2) * unit(), centre[1] + (clientY - at.top - at.height / 2) * unit()];
  }

  const inside = event => locate(event).map((value, axis) => Math.min(Math.max(value, 0), size[axis]));

  // Show the image's point `at` under the position of the screen where `event` is.
  function hold(at, event) {
    const now = locate(event);
    centre = centre.map((value, axis) => value + at[axis] - now[axis]);
    apply();
  }

  function zoomAt(factor, event) {
    const at = locate(event);
    zoom = Math.min(Math.max(zoom * factor, 1), farthest());
    hold(at, event);
  }

  function zoomAbout(factor, at = null) {
    const old = zoom;
    zoom = Math.min(Math.max(zoom * factor, 1), farthest());
    if (at) centre = centre.map((value, axis) => at[axis] + (value - at[axis]) * old / zoom);
    apply();
  }

  function pinch() {
    const [one, other] = [...pointers.values()];
    const middle = { clientX: (one.clientX + other.clientX) / 2, clientY: (one.clientY + other.clientY) / 2 };
    return { middle, apart: Math.max(1, Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY)) };
  }

  // What was under way is not done.
  function abandon() {
    if (gesture && gesture.kind === "drag") tell("cancel", gesture.id);
    else if (gesture && gesture.kind === "paint") tell("unpainted");
  }

  function begin(event) {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    pointers.set(event.pointerId, event);
    if (pointers.size === 2) {
      abandon();
      const { middle, apart } = pinch();
      gesture = { kind: "pinch", at: locate(middle), apart, zoom };
      return;
    }
    if (pointers.size > 2) return;
    const point = event.target.closest("[data-point]"), id = point ? point.dataset.point : null;
    gesture = { kind: "tap", id, gripped: id !== null && Boolean(tell("grip", id, event)), paints: Boolean(tell("paints", event)), from: event, at: locate(event) };
    if (event.pointerType === "mouse") stage.setPointerCapture(event.pointerId);
  }

  function move(event) {
    if (!pointers.has(event.pointerId)) return;
    pointers.set(event.pointerId, event);
    if (gesture.kind === "pinch" && pointers.size > 1) {
      const { middle, apart } = pinch();
      zoom = Math.min(Math.max(gesture.zoom * apart / gesture.apart, 1), farthest());
      hold(gesture.at, middle);
      return;
    }
    const { from } = gesture;
    if (gesture.kind === "tap" && Math.hypot(event.clientX - from.clientX, event.clientY - from.clientY) > (SLOP[event.pointerType] || SLOP.pen)) {
      gesture.kind = gesture.gripped ? "drag" : gesture.paints ? "paint" : zoom > 1 ? "pan" : "nothing";
      if (gesture.kind === "paint") tell("paint", ...inside(from));
    }
    if (gesture.kind === "paint") tell("paint", ...inside(event));
    else if (gesture.kind === "drag") tell("drag", gesture.id, ...inside(event));
    else if (gesture.kind === "pan") hold(gesture.at, event);
  }

  function end(event) {
    if (!pointers.delete(event.pointerId)) return;
    const { kind, id } = gesture;
    // What is left of a pinch is no tap.
    if (pointers.size) gesture = { kind: "nothing" };
    else gesture = null;
    if (kind === "drag") tell("drop", id, ...inside(event));
    else if (kind === "paint") tell("painted");
    else if (kind === "tap") tell("tap", ...inside(event), id, event);
  }

  // The browser took the pointer, to scroll the page.
  function lose(event) {
    if (!pointers.delete(event.pointerId)) return;
    abandon();
    gesture = pointers.size ? { kind: "nothing" } : null;
  }

  function touch(event) {
    const ours = event.touches.length > 1 || (gesture && (gesture.gripped || gesture.paints || ["pinch", "drag", "pan"].includes(gesture.kind)));
    if (ours && event.cancelable) event.preventDefault();
  }

  // A turn of the wheel that began by scrolling the page goes on scrolling it, whatever comes under the pointer.
  function wheel(event) {
    const now = performance.now(), out = event.deltaY > 0;
    const scrolls = !event.ctrlKey && (now - scrolled < LATCH || (zoom === 1 && out && now - turned > LATCH));
    if (scrolls || event.shiftKey) return;
    event.preventDefault();
    turned = now;
    const delta = event.deltaY * (event.deltaMode ? LINE : 1) * (event.ctrlKey ? 4 : 1);
    zoomAt(Math.exp(-Math.min(Math.max(delta, -300), 300) * WHEEL), event);
  }

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    const factor = { "+": STEP, "=": STEP, "-": 1 / STEP, "0": 0 }[event.key];
    if (factor === undefined) return;
    event.preventDefault();
    zoomAbout(factor, tell("anchor"));
  }

  const handlers = { pointerdown: begin, pointermove: move, pointerup: end, pointercancel: lose, keydown: press };
  for (const [name, handler] of Object.entries(handlers)) stage.addEventListener(name, handler);
  for (const name of ["touchstart", "touchmove"]) stage.addEventListener(name, touch, { passive: false });
  stage.addEventListener("wheel", wheel, { passive: false });
  stage.addEventListener("dragstart", event => event.preventDefault());
  const observer = new ResizeObserver(() => {
    const { width, height } = stage.getBoundingClientRect();
    if (!width || !height) return;
    box = { width, height };
    apply();
  });
  observer.observe(stage);

  return {
    // Another image, or the same at another size: all of it is shown.
    show(next) {
      if (next[0] === size[0] && next[1] === size[1]) return;
      size = next;
      zoom = 1;
      apply();
    },
    takeSwipes, locate,
    step: direction => zoomAbout(direction > 0 ? STEP : 1 / STEP, tell("anchor")),
    reset: () => zoomAbout(0),
    // Pixels of the image for a pixel of the screen.
    get unit() { return unit(); },
    get view() { return [centre[0] - box.width * unit() / 2, centre[1] - box.height * unit() / 2, box.width * unit(), box.height * unit()]; },
    get centre() { return [...centre]; },
    // Bring a point of the image into view.
    reveal(x, y) {
      const extent = [box.width * unit(), box.height * unit()];
      if ([x, y].some((value, axis) => Math.abs(value - centre[axis]) > extent[axis] * 0.45)) {
        centre = [x, y];
        apply();
      }
    },
    destroy: () => observer.disconnect(),
  };
}

// The wheel, where no viewport takes it, scrolls the page.
document.addEventListener("wheel", event => { if (!event.defaultPrevented) scrolled = performance.now(); }, { passive: true });
