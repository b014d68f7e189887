// A question before something is lost.
"use strict";
import { $ } from "./nodes.js";

export function confirm({ text, yes }) {
  const dialog = $("question");
  $("question-text").textContent = text;
  $("question-yes").textContent = yes;
  const before = document.activeElement;
  let sure = false;
  const agree = () => { sure = true; dialog.close(); }, refuse = () => dialog.close();
  $("question-yes").addEventListener("click", agree, { once: true });
  $("question-no").addEventListener("click", refuse, { once: true });
  dialog.showModal();
  // The harmless answer has the focus; Escape means the same.
  $("question-no").focus();
  return new Promise(resolve => dialog.addEventListener("close", () => {
    $("question-yes").removeEventListener("click", agree);
    $("question-no").removeEventListener("click", refuse);
    before?.focus({ preventScroll: true });
    resolve(sure);
  }, { once: true }));
}
