// What the tabs Words and Inspect share: what they say, and a job with its progress. The elements of a tab have its
// name before theirs: `words-status`, `words-error`, `words-progress`, `words-start`, `words-cancel`.
"use strict";
import { follow, progress } from "./job.js";
import { $ } from "./nodes.js";
import { ask } from "./server.js";

// `kind` is the job's; `ended` gets it when it is over, and returns what is to be looked at then, if it was begun here.
export function tab(name, kind, ended) {
  const show = progress($(`${name}-progress`));
  let running = false;

  function say(text, wrong = false) {
    $(`${name}-status`).textContent = wrong ? "" : text;
    $(`${name}-error`).textContent = wrong ? text : "";
  }

  // Do something, and say what came of it, unless it has said so itself.
  async function act(action) {
    say("");
    try {
      const message = await action();
      if (message) say(message);
    } catch (error) {
      say(error.message, true);
    }
  }

  async function followJob(ours) {
    if (running) return;
    running = true;
    let made = null;
    $(`${name}-cancel`).hidden = false;
    $(`${name}-start`).disabled = true;
    try {
      const job = await follow(state => {
        const first = $(`${name}-progress`).hidden;
        show(state);
        if (first) $(`${name}-progress`).scrollIntoView({ block: "nearest" });
      });
      if (job && job.kind === kind) {
        made = await ended(job);
        if (job.state === "failed") say(job.error, true);
        else say(job.state === "cancelled" ? "Cancelled." : job.message);
      }
    } catch (error) {
      say(error.message, true);
    }
    running = false;
    $(`${name}-progress`).hidden = $(`${name}-cancel`).hidden = true;
    $(`${name}-start`).disabled = false;
    if (ours && made) reveal(made);
  }

  $(`${name}-cancel`).addEventListener("click", () => act(async () => { await ask("api/cancel", {}); }));

  return {
    say, act,
    get running() { return running; },
    begin: (path, body) => act(async () => {
      await ask(path, body);
      followJob(true);
    }),
    // A job that was under way when the page was loaded.
    resume(job) {
      if (job && job.kind === kind && ["waiting", "running"].includes(job.state)) followJob(false);
    },
  };
}

function reveal(element) {
  const quiet = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "start", behavior: quiet ? "auto" : "smooth" });
  element.focus({ preventScroll: true });
}
