// The tab Inspect: runs of the benchmark kit, pair by pair, with the true points and heat maps.
"use strict";
import { rounded } from "./marks.js";
import { $, make } from "./nodes.js";
import { imageView } from "./image_view.js";
import { ask, image, work } from "./server.js";
import { tab } from "./tab.js";

const HTML = `
<section class="panel" aria-labelledby="runs-title">
  <h2 id="runs-title">Runs of the benchmark kit</h2>
  <p class="lead">Where a method found the points of a benchmark's pairs, and where they truly are.</p>
  <div id="runs-none" class="about" hidden>
    <p><b>There are no runs in the folder that the page was started with.</b> A run is a folder with what one method predicted for the
    image pairs of one benchmark, or of your own annotated images. Make one, and start the page with the folder that it is in:</p>
    <pre>semcorr eval toy --method attention-dift --limit 20 -o runs/toy
semcorr eval own --data photos --method hypercolumn -o runs/photos
semcorr app --runs runs</pre>
    <p>Runs that are made later in that folder are in the list once it is reloaded.</p>
  </div>
  <div class="row fields">
    <label>Run <select id="run"></select></label>
    <button type="button" id="runs-reload">Reload the list</button>
    <label class="of-run">Category <select id="category"></select></label>
    <label class="of-run">Outcome <select id="outcome"></select></label>
  </div>
  <div class="row fields of-run">
    <label class="long">Pair <select id="pair"></select></label>
    <button type="button" id="previous">‹ Previous</button>
    <button type="button" id="next">Next ›</button>
  </div>
  <p id="runs-count" class="faint"></p>
  <div id="runs-pair" hidden>
    <div class="pair">
      <figure><figcaption id="runs-source-name"></figcaption><div id="runs-source"></div></figure>
      <figure><figcaption id="runs-target-name"></figcaption><div id="runs-target"></div></figure>
    </div>
    <p class="faint">In the target a dot is where the point was found, its ring how sure that is, and the circle at the end of its line where it truly is. <span id="runs-legend"></span></p>
    <div class="row fields">
      <button type="button" id="runs-start">Make heat maps</button>
      <label class="switch of-maps"><input id="map-shown" type="checkbox" role="switch" checked><span class="knob" aria-hidden="true"></span> Heat map</label>
      <label class="of-maps">Point <select id="map-point"></select></label>
      <label class="of-maps">Layer <select id="map-layer"></select></label>
      <label class="of-maps">Opacity <input id="map-opacity" type="range" min="10" max="100" value="70"></label>
    </div>
  </div>
  <div class="row working">
    <div id="runs-progress" class="progress" hidden></div>
    <button type="button" id="runs-cancel" hidden>Cancel</button>
  </div>
  <p id="runs-status" role="status"></p>
  <p id="runs-error" class="error" role="alert"></p>
  <p id="runs-note"></p>
  <div id="runs-numbers" class="scroll" tabindex="0" role="region" aria-label="Points of this pair in numbers" hidden><table id="runs-table"></table></div>
</section>`;

let own, source, target, shown = null, turn = 0, heat = { key: "", url: null };

const entries = (select, values) => select.replaceChildren(...values.map(([value, text]) => make("option", { value }, text)));
const chosen = () => $("map-point").value === "all" ? null : Number($("map-point").value);
const reveal = (selector, seen) => { for (const one of $("inspect").querySelectorAll(selector)) one.hidden = !seen; };
const query = values => new URLSearchParams(values).toString();

// What only the last request may show: an earlier one's answer may come later.
function latest(action) {
  const mine = turn += 1;
  return own.act(() => action(() => mine === turn));
}

function dropHeat() {
  if (heat.url) URL.revokeObjectURL(heat.url);
  heat = { key: "", url: null };
}

// --- lists ---

const loadRuns = () => own.act(async () => {
  const { runs } = await ask("api/runs"), before = $("run").value;
  entries($("run"), [["", runs.length ? "Choose a run" : "No runs"], ...runs.map(name => [name, name])]);
  $("run").value = runs.includes(before) ? before : "";
  $("run").disabled = !runs.length;
  reveal("#runs-none", !runs.length);
  if ($("run").value !== before) await loadPairs(true);
});

const loadPairs = anew => latest(async fits => {
  const run = $("run").value;
  reveal(".of-run", run !== "");
  $("runs-count").textContent = "";
  if (!run) return showPair(null);
  const filters = anew ? {} : { category: $("category").value, outcome: $("outcome").value };
  const { categories, outcomes, pairs, message } = await ask(`api/runs/pairs?${query({ run, ...filters })}`).catch(error => {
    if (fits()) showPair(null);
    throw error;
  });
  if (!fits()) return;
  if (anew) for (const [id, values] of [["category", categories], ["outcome", outcomes]]) entries($(id), values.map(one => [one, one]));
  const before = $("pair").value;
  entries($("pair"), pairs.length ? pairs.map(({ index, label }) => [index, label]) : [["", "No pair passes the filters"]]);
  if (!anew && pairs.some(pair => String(pair.index) === before)) $("pair").value = before;
  for (const id of ["pair", "previous", "next"]) $(id).disabled = pairs.length < (id === "pair" ? 1 : 2);
  $("runs-count").textContent = message;
  await loadPair(fits);
});

function step(by) {
  const { options, selectedIndex } = $("pair");
  $("pair").selectedIndex = (selectedIndex + by + options.length) % options.length;
  latest(loadPair);
}

// --- a pair ---

async function loadPair(fits) {
  if ($("pair").value === "") return showPair(null);
  const asked = { run: $("run").value, index: Number($("pair").value) };
  const pair = await ask("api/runs/pair", asked);
  if (fits()) showPair({ ...pair, asked });
}

function showPair(pair) {
  const same = shown && pair && query(shown.asked) === query(pair.asked);
  shown = pair;
  $("runs-pair").hidden = !pair || !pair.target;
  $("runs-numbers").hidden = !pair || !pair.points.length;
  $("runs-note").textContent = pair ? pair.note : "";
  if (!pair) return;
  entries($("map-layer"), pair.layers.map(name => [name, name]));
  const before = $("map-point").value;
  entries($("map-point"), [["all", "all points"], ...pair.source_points.map(point => [point.id, `${point.number} ${point.label}`])]);
  if (same && before) $("map-point").value = before;
  reveal(".of-maps", pair.layers.length > 0);
  $("runs-start").hidden = !pair.points.length;
  $("runs-legend").textContent = pair.calibrated ? "The confidence is the probability that a point is right." : "The confidence is uncalibrated: it ranks points, and is no probability.";
  if (pair.error) own.say(pair.error, true);
  for (const which of ["source", "target"]) {
    const given = pair[which];
    $(`runs-${which}-name`).replaceChildren(...(given ? [make("span", { class: "title" }, which === "source" ? "Source " : "Target ", make("b", {}, make("bdi", {}, given.name)), ` ${given.size.join(" × ")}`)] : []));
  }
  showTable(pair);
  draw();
}

function showTable({ points, within }) {
  const head = ["Point", "Name", "Error, px", "Confidence", `Within ${within}`].map(text => make("th", { scope: "col" }, text));
  const cell = (text, number = false) => make("td", number ? { class: "number" } : {}, text);
  const rows = points.map(point => make("tr", { class: point.right ? "" : "missed" }, cell(String(point.number)), cell(point.label),
    cell(point.error === null ? "" : point.error.toFixed(1), true), cell(point.confidence === null ? "" : point.confidence.toFixed(2), true),
    cell(point.right ? "right" : "wrong")));
  $("runs-table").replaceChildren(...(points.length ? [make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)] : []));
}

// A predicted point in words: whether it is right is part of its name.
const named = point => ({ ...point, label: `${point.label}, ${point.right ? "right" : `wrong by ${rounded(point.error)} px`}`, calibrated: shown.calibrated });

function draw() {
  if (!shown) return;
  const { layers } = shown, key = layers.length ? query({ ...shown.asked, point: $("map-point").value, layer: $("map-layer").value }) : "";
  if (key !== heat.key) loadHeat(key);
  source.show({ image: shown.source, points: shown.source_points, chosen: chosen() });
  target.show({ image: shown.target, points: shown.points.map(named), chosen: chosen(), heat: $("map-shown").checked ? heat.url : null, opacity: $("map-opacity").value / 100 });
}

async function loadHeat(key) {
  dropHeat();
  heat.key = key;
  if (!key) return;
  try {
    const url = await image(`api/runs/heat?${key}`);
    if (heat.key === key) {
      heat.url = url;
      draw();
    } else URL.revokeObjectURL(url);
  } catch (error) {
    own.say(error.message, true);
  }
}

function choose(id) {
  $("map-point").value = chosen() === id ? "all" : id;
  draw();
}

async function ended(job) {
  if (job.state !== "done" || !shown) return;
  const { asked } = shown, pair = await ask("api/runs/pair", asked);
  if (shown && shown.asked === asked) showPair({ ...pair, asked });
}

export async function start() {
  $("inspect").innerHTML = HTML;
  source = imageView($("runs-source"), { name: "Source" });
  target = imageView($("runs-target"), { name: "Target" });
  for (const one of [source, target]) one.on("choose", choose);
  own = tab("runs", "maps", ended);
  const changes = {
    run: () => loadPairs(true), category: () => loadPairs(false), outcome: () => loadPairs(false), pair: () => latest(loadPair), "map-point": draw, "map-layer": draw,
  };
  for (const [id, change] of Object.entries(changes)) $(id).addEventListener("change", change);
  for (const id of ["map-shown", "map-opacity"]) $(id).addEventListener("input", draw);
  $("runs-reload").addEventListener("click", async () => {
    await loadRuns();
    if ($("run").value) await loadPairs(false);
  });
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("runs-start").addEventListener("click", () => own.begin("api/runs/maps", shown.asked));
  $("inspect").addEventListener("shown", loadRuns);
  own.resume(work.value?.job);
  entries($("run"), []);
  reveal(".of-run", false);
  await loadRuns();
}
