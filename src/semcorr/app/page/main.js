// The page: its tabs, and what each of them starts with.
"use strict";
import { confirm } from "./dialog.js";
import * as match from "./match.js";
import { $ } from "./nodes.js";
import * as runs from "./runs.js";
import * as server from "./server.js";
import { say } from "./status.js";
import * as words from "./words.js";

function startTabs() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const select = chosen => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", String(tab === chosen));
      tab.tabIndex = tab === chosen ? 0 : -1;
      $(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
    }
    document.querySelector(".history").hidden = chosen.id !== "tab-match";
    $(chosen.getAttribute("aria-controls")).dispatchEvent(new CustomEvent("shown"));
  };
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => select(tab));
    tab.addEventListener("keydown", event => {
      const next = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: -1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      const other = tabs.at(next % tabs.length);
      other.focus();
      select(other);
    });
  }
}

startTabs();
server.onQuestion(confirm);
try {
  const about = await server.ask("api/about"), gone = await server.open();
  match.start(about, gone);
  server.follow(say);
  words.start(about);
  runs.start();
  document.body.classList.add("ready");
} catch (error) {
  say(error.message, true);
}
