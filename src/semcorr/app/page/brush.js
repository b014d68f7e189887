// A round brush over an image: its outline, the stroke under way, and those that the server does not have yet.
// Coordinates are continuous pixels of the image.
"use strict";
import { shape } from "./nodes.js";

const FINE = 0.15;        // of the radius: corners that are closer are left out
const CORNERS = 1000;     // of a stroke; a longer one goes on as another

const lineOf = corners => corners.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y}`).join("") + (corners.length === 1 ? "h0" : "");

// `send` takes the corners of a stroke, and returns a promise until which it stays drawn.
export function brush(send) {
  const strokes = shape("g"), outline = shape("g"), group = shape("g", { class: "brush" }, strokes, outline);
  let tool = null, corners = [], path = null, last = null;

  const drawn = () => shape("path", {
    fill: "none", stroke: tool.colour, "stroke-opacity": 0.7, "stroke-width": tool.radius * 2, "stroke-linecap": "round", "stroke-linejoin": "round",
  });

  function paint(x, y) {
    if (!path) strokes.append(path = drawn());
    const before = corners.at(-1);
    if (before && Math.hypot(x - before[0], y - before[1]) < FINE * tool.radius) return;
    corners.push([x, y]);
    path.setAttribute("d", lineOf(corners));
    if (corners.length < CORNERS) return;
    end();
    paint(x, y);
  }

  function end() {
    const sent = path, stroke = corners;
    path = null;
    corners = [];
    if (!stroke.length) return;
    last = stroke.at(-1);
    Promise.resolve(send(stroke)).finally(() => sent.remove());
  }

  return {
    group, paint, end,
    cancel() {
      path?.remove();
      path = null;
      corners = [];
    },
    // A dot, or with `joined` a line from where the brush was last.
    dab(x, y, joined = false) {
      if (joined && last) paint(...last);
      paint(x, y);
      end();
    },
    hover(at, unit) {
      outline.replaceChildren(...(at && tool ? [["#14181d", 3], ["#fff", 1.5]].map(([stroke, width]) => shape("circle", {
        cx: at[0], cy: at[1], r: tool.radius, fill: "none", stroke, "stroke-width": width * unit,
      })) : []));
    },
    use(next) { tool = next || null; },
    forget() { last = null; },
  };
}
