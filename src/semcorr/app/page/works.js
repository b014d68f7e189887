// A link to this work, another work, and deleting this one.
"use strict";
import { confirm } from "./dialog.js";
import { $ } from "./nodes.js";
import { address, ask, leave } from "./server.js";
import { act } from "./status.js";

export function start(kept, forgotten) {
  $("kept").textContent = kept;
  $("link").addEventListener("click", () => act(async () => {
    $("link-text").value = address();
    try {
      await navigator.clipboard.writeText(address());
      return "The link is copied. Whoever has it can see and change this work.";
    } catch {
      // The browser lets no page write there.
      $("link-text").hidden = false;
      $("link-text").focus();
      $("link-text").select();
      return "Copy the link from the field. Whoever has it can see and change this work.";
    }
  }));
  $("new").addEventListener("click", () => act(async () => {
    const question = { text: "This page shows an empty work then. The present one stays on the server, under its link: copy it first if you want to come back.", yes: "Start another" };
    if (!await confirm(question)) return null;
    await leave();
    forgotten();
    return "A new work.";
  }));
  $("delete").addEventListener("click", () => act(async () => {
    const question = { text: "The images, points, matches and corrections of this work are deleted from the server, at once and for good. No undo brings them back.", yes: "Delete this work" };
    if (!await confirm(question)) return null;
    await ask("api/work/delete", { sure: true });
    await leave();
    forgotten();
    return "The work is deleted.";
  }));
}

export function show() {
  for (const id of ["link", "new", "delete"]) $(id).disabled = !address();
  $("link-text").hidden ||= $("link-text").value !== address();
}
