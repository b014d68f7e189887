// The dialog that has doubtful objects predicted again.
"use strict";
import { $ } from "./drawing.js";
import { ask } from "./server.js";

const POLL = 500;

export function start(onDone) {
  let timer = null, typed = false, running = false, turn = Promise.resolve();
  // One request after the other: an answer never replaces a later one.
  function act(path, body) {
    turn = turn.then(async () => {
      let status = null;
      try {
        status = await ask(path, body);
        show(status, body !== undefined);
      } catch (error) {
        $("again-status").textContent = error.message;
      }
      clearTimeout(timer);
      if (running) timer = setTimeout(() => act("api/again"), POLL);
      return status;
    });
    return turn;
  }
  function show(status, acted) {
    const followed = running;
    running = status.stage === "running";
    $("again-start").hidden = running;
    $("again-stop").hidden = $("again-progress").hidden = !running;
    $("again-undo").hidden = running || !status.undoable;
    if (status.total) $("again-progress").value = status.done / status.total;
    else $("again-progress").removeAttribute("value");
    $("again-status").textContent = running && status.total ? `${status.message}: ${status.done} of ${status.total}` : status.message;
    // Not where the dialog is only opened after a job: the list stays as it is.
    if (status.stage === "done" && (followed || acted)) onDone(status.message);
  }
  $("again-open").addEventListener("click", async () => {
    $("again").showModal();
    const status = await act("api/again");
    if (status && !typed) $("below").value = status.suggested;
  });
  $("below").addEventListener("input", () => { typed = true; });
  $("again-start").addEventListener("click", () => act("api/again", { below: Number($("below").value) }));
  $("again-undo").addEventListener("click", () => act("api/again/undo", {}));
  $("again-stop").addEventListener("click", () => act("api/again/stop", {}));
  $("again-close").addEventListener("click", () => $("again").close());
}
