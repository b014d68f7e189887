// What the page says: a message, or an error, until the next action.
"use strict";
import { $ } from "./nodes.js";

export function say(text, wrong = false) {
  $("status").textContent = wrong ? "" : text;
  $("error").textContent = wrong ? text : "";
}

// Do something, and say what came of it. Returns whether it was done.
export async function act(action) {
  say("");
  try {
    const message = await action();
    if (message === null) say("Nothing was changed.");
    else if (message) say(message);
    return message !== null;
  } catch (error) {
    say(error.message, true);
    return false;
  }
}
