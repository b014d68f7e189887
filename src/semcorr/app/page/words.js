// The tab Words: where each word of a description attends in an image.
"use strict";
import { $, button, make } from "./nodes.js";
import { imageView } from "./image_view.js";
import { address, ask, send, work } from "./server.js";
import { tab } from "./tab.js";
import { checkSize } from "./uploads.js";

const HTML = `
<div class="columns">
  <section class="panel" id="words-panel" aria-labelledby="words-title">
    <h2 id="words-title"><b>1</b> Image</h2>
    <p class="lead">See where each word of a description attends in an image.</p>
    <div id="words-drop" class="drop">
      <label class="file primary"><input id="words-file" type="file" accept="image/*"> <span>Choose an image</span></label>
      <p class="faint wide">or drop one here, or paste it</p>
      <button type="button" id="words-source">Take the source of Match</button>
    </div>
    <p id="words-name" class="caption"></p>
    <div id="words-image"></div>
    <div id="words-examples" class="examples" role="group" aria-labelledby="words-examples-title">
      <h3 id="words-examples-title">Or try an example</h3>
      <div id="words-example-buttons" class="row"></div>
    </div>
    <h2 id="prompt-title"><b>2</b> Description</h2>
    <p id="prompt-help" class="lead">What the image shows. Each word gets a heat map.</p>
    <textarea id="prompt" rows="2" aria-labelledby="prompt-title" aria-describedby="prompt-help" placeholder="a rabbit with pink nose and gray tail"></textarea>
    <div class="row">
      <button type="button" id="words-start" class="primary big">Show the words</button>
      <button type="button" id="words-cancel" hidden>Cancel</button>
    </div>
    <div id="words-progress" class="progress" hidden></div>
    <p id="words-status" role="status"></p>
    <p id="words-error" class="error" role="alert"></p>
    <p id="words-model" class="faint"></p>
  </section>
  <section class="panel" aria-labelledby="words-maps-title">
    <h2 id="words-maps-title" tabindex="-1"><b>3</b> Where each word attends</h2>
    <p id="words-none" class="lead">Here each word gets the image with its heat map: clear where the word does not attend, yellow where it attends most.</p>
    <div id="words-results" hidden>
      <div class="row">
        <label>Opacity <input id="words-opacity" type="range" min="0" max="100" value="70"></label>
        <span id="words-files" class="row"></span>
      </div>
      <ul id="words-grid" aria-label="Heat maps of the words"></ul>
    </div>
  </section>
</div>`;

let shown, own, views = [], value = null, key = "", turn = Promise.resolve();

function drawImage() {
  const { image } = value;
  const parts = image ? [make("b", {}, make("bdi", {}, image.name)), ` ${image.size.join(" × ")}`] : [];
  $("words-name").replaceChildren(...parts, ...(image && image.note ? [make("span", { class: "note" }, image.note)] : []));
  $("words-drop").classList.toggle("filled", Boolean(image));
  $("words-drop").querySelector(".file span").textContent = image ? "Choose another" : "Choose an image";
  shown.show({ image, description: image ? `${image.name}, the image to describe.` : "" });
  $("words-model").textContent = value.warning || `On ${value.model}, a model for ${value.images}.`;
}

function drawWords() {
  const { words, file } = value;
  $("words-none").hidden = words.length > 0;
  $("words-results").hidden = words.length === 0;
  $("words-files").replaceChildren(...(file ? [make("a", { class: "button", href: file.address, download: file.name }, `Save ${file.name}`)] : []));
  for (const one of views) one.destroy();
  $("words-grid").replaceChildren(...words.map(one => make("li", {}, make("h3", {}, one.word))));
  views = words.map((one, index) => imageView($("words-grid").children[index], { name: one.word }));
  drawHeat();
}

function drawHeat() {
  const opacity = $("words-opacity").value / 100;
  for (const [index, { word, heat, peak }] of value.words.entries()) {
    const description = `Heat map of the word “${word}” over ${value.image.name}. It attends most at ${peak.map(Math.round).join(", ")}.`;
    views[index].show({ image: value.image, heat, opacity, description });
  }
}

function draw(next) {
  const before = value, same = name => before && JSON.stringify(before[name]) === JSON.stringify(next[name]);
  const redraw = !same("words") || !same("image");
  // What is typed and not shown yet stays.
  if (!same("prompt")) $("prompt").value = next.prompt;
  value = next;
  drawImage();
  if (redraw) drawWords();
}

// One request after the other: an answer never replaces a later one.
function inTurn(action) {
  const done = turn.then(action);
  turn = done.catch(() => {});
  return done;
}

const load = () => inTurn(async () => {
  key = address();
  draw(await ask("api/words"));
});

const change = action => own.act(() => inTurn(async () => {
  draw(await action());
  own.say("");
}));

function take([file], { limits }) {
  if (!file) return;
  change(() => {
    checkSize(file, limits);
    own.say(`Sending ${file.name} …`);
    return send(`api/words/image?name=${encodeURIComponent(file.name || "pasted.png")}`, file);
  });
}

function wireFiles(about) {
  const panel = $("words-panel");
  $("words-file").accept = ["image/*", ...about.suffixes].join(",");
  $("words-file").addEventListener("change", () => {
    take($("words-file").files, about);
    $("words-file").value = "";  // so that the same file can be chosen again
  });
  panel.addEventListener("dragover", () => panel.classList.add("over"));
  panel.addEventListener("dragleave", event => { if (!panel.contains(event.relatedTarget)) panel.classList.remove("over"); });
  panel.addEventListener("drop", event => {
    panel.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files, about);
    else own.say("Expected an image file, got something else. Save the image, then drop its file.", true);
  });
  document.addEventListener("paste", event => {
    if ($("words").hidden || event.target.closest("textarea") || !event.clipboardData.files.length) return;
    event.preventDefault();
    take(event.clipboardData.files, about);
  });
}

export async function start(about) {
  $("words").innerHTML = HTML;
  shown = imageView($("words-image"), { name: "Image" });
  own = tab("words", "words", async job => {
    await load();
    return job.state === "done" ? $("words-maps-title") : null;
  });
  $("words-example-buttons").append(...about.examples.map(category =>
    button(category, () => change(() => ask("api/words/example", { category })), { id: `words-example-${category}` })));
  $("words-source").addEventListener("click", () => change(() => ask("api/words/source", {})));
  $("words-opacity").addEventListener("input", drawHeat);
  const begin = () => inTurn(() => own.begin("api/words/start", { prompt: $("prompt").value }));
  $("words-start").addEventListener("click", begin);
  $("prompt").addEventListener("keydown", event => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!own.running) begin();
  });
  wireFiles(about);
  const again = () => load().catch(error => own.say(error.message, true));
  $("words").addEventListener("shown", again);
  work.subscribe(() => { if (address() !== key) again(); });
  own.resume(work.value?.job);
  await again();
}
