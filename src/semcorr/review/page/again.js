// The dialog that has doubtful objects predicted again.
"use strict";
import { $ } from "./drawing.js";
import { ask } from "./server.js";

export function start(onDone) {
  let timer = null, typed = false;
  async function act(request) {
    try {
      show(await request);
    } catch (error) {
      $("again-status").textContent = error.message;
    }
  }
  function show(status) {
    const running = status.stage === "running";
    $("again-start").hidden = running;
    $("again-stop").hidden = $("again-progress").hidden = !running;
    $("again-undo").hidden = running || !status.undoable;
    if (status.total) $("again-progress").value = status.done / status.total;
    else $("again-progress").removeAttribute("value");
    $("again-status").textContent = running && status.total ? `${status.message}: ${status.done} of ${status.total}` : status.message;
    clearTimeout(timer);
    if (running) timer = setTimeout(() => act(ask("api/again")), 500);
    else if (status.stage === "done") onDone(status.message);
  }
  $("again-open").addEventListener("click", async () => {
    $("again").showModal();
    const asked = ask("api/again");
    act(asked);
    const { suggested } = await asked.catch(() => ({ suggested: 1 }));
    if (!typed) $("below").value = suggested;
  });
  $("below").addEventListener("input", () => { typed = true; });
  $("again-start").addEventListener("click", () => act(ask("api/again", { below: Number($("below").value) })));
  $("again-undo").addEventListener("click", () => act(ask("api/again/undo", {})));
  $("again-stop").addEventListener("click", () => act(ask("api/again/stop", {})));
  $("again-close").addEventListener("click", () => $("again").close());
}
