// Images that a person chooses, drops or pastes.
"use strict";
import { $ } from "./nodes.js";
import { say } from "./status.js";
import { upload } from "./server.js";

// Before anything is sent.
export function checkSize(file, limits) {
  if (file.size <= limits.megabytes * 1e6) return;
  throw new Error(`${file.name} has ${Math.ceil(file.size / 1e6)} MB. Expected at most ${limits.megabytes} MB: save it smaller, or as a JPEG.`);
}

// Many in a series are sent one after the other; one that is refused costs none of the others.
async function sendAll(kinds, files, limits) {
  const errors = [], messages = [];
  for (const [index, file] of files.entries()) {
    say(files.length > 1 ? `Sending ${index + 1} of ${files.length}: ${file.name} …` : `Sending ${file.name} …`);
    try {
      checkSize(file, limits);
      const message = await upload(kinds[index], file);
      if (message === null) messages.push("Nothing was changed.");
      else if (message) messages.push(message);
    } catch (error) {
      errors.push(error.message);
    }
  }
  // What arrived is seen; what did not has to be read.
  if (errors.length) say([...new Set(errors)].join(" "), true);
  else say(messages.at(-1) || "");
}

const kindsOf = (kind, files) => files.map((_, index) => kind === "source" && index === 0 ? "source" : "target");

export function start({ limits, suffixes, hasSource, arrived }) {
  async function take(kind, list) {
    const files = [...list];
    if (!files.length) return;
    await sendAll(kindsOf(kind, files), files, limits);
    arrived(kind);
  }
  for (const [kind, input, area] of [["source", "source-file", "source"], ["target", "targets-file", "targets"]]) {
    // A browser does not know the suffixes of all formats of images.
    $(input).accept = ["image/*", ...suffixes].join(",");
    $(input).addEventListener("change", async () => {
      const files = [...$(input).files];
      $(input).value = "";  // so that the same file can be chosen again
      await take(kind, files);
    });
    const panel = $(area);
    panel.addEventListener("dragover", event => {
      event.preventDefault();
      panel.classList.add("over");
    });
    for (const name of ["dragleave", "drop"]) panel.addEventListener(name, event => {
      if (name === "drop" || !panel.contains(event.relatedTarget)) panel.classList.remove("over");
    });
    panel.addEventListener("drop", event => {
      event.preventDefault();
      if (!event.dataTransfer.files.length) say("Expected image files, got something else. Save the image, then drop its file.", true);
      take(kind, event.dataTransfer.files);
    });
  }
  // Beside the panels a file would replace the page.
  for (const name of ["dragover", "drop"]) document.addEventListener(name, event => event.preventDefault());
  document.addEventListener("paste", event => {
    if (event.target.closest("input, textarea") || $("match").hidden) return;
    const files = event.clipboardData.files;
    if (!files.length) return;
    event.preventDefault();
    take(hasSource() ? "target" : "source", files);
  });
}
