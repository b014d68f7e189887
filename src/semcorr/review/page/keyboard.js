// Keys and what they do.
"use strict";

export function start(actions) {
  document.addEventListener("keydown", event => {
    const typing = event.target.closest("input:not([type=checkbox]), select, dialog");
    if (typing || event.altKey || event.defaultPrevented) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    // A key that is held decides on one object, not on all that follow.
    if (event.repeat && "arhx".includes(key)) return;
    const action = event.ctrlKey || event.metaKey ? control(key, event.shiftKey, actions) : plain(key, event.shiftKey, actions);
    if (!action) return;
    event.preventDefault();
    action();
  });
}

function control(key, shift, actions) {
  if (key === "z") return shift ? actions.redo : actions.undo;
  return key === "y" ? actions.redo : null;
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function plain(key, shift, actions) {
  if (ARROWS[key]) {
    const [x, y] = ARROWS[key];
    if (actions.hasPoint()) return () => actions.nudge(x * (shift ? 10 : 1), y * (shift ? 10 : 1));
    return x ? () => actions.step(x) : null;
  }
  if (key >= "1" && key <= "9") return () => actions.choose(Number(key) - 1);
  if (shift && "ar".includes(key)) return key === "a" ? actions.acceptImage : actions.rejectImage;
  return {
    a: actions.accept, r: actions.reject, h: actions.hide, x: actions.exchange, n: actions.nextPoint, Escape: actions.none,
    "+": actions.closer, "=": actions.closer, "-": actions.farther, "0": actions.whole,
  }[key] || null;
}
