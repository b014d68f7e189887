// The page of a review: which objects are listed, which is worked on, and what actions do.
"use strict";
import * as again from "./again.js";
import * as cards from "./cards.js";
import { $, imageAddress, make, setContent } from "./drawing.js";
import * as keyboard from "./keyboard.js";
import * as reasons from "./reasons.js";
import * as server from "./server.js";
import { showPoints, showSources } from "./sources.js";
import * as stage from "./stage.js";
import * as states from "./states.js";

const PAGE = 24, POLL = 1500;
let about, numbers = [], index = 0, chosen = null, exchanging = false, revision = 0, turn = Promise.resolve(), listing = 0, openings = 0, opening = false;
const undone = [], done = [];

const categoryNamed = name => about.categories.find(one => one.name === name);
// What is shown; nothing while another object is on its way, so that nobody decides on one unseen.
const current = () => opening ? undefined : server.objects.get(numbers[index]);
// An object as it is drawn: its state's fields beside what is fixed.
const flat = one => ({ ...one, ...one.state });
const pageOf = position => Math.floor(position / PAGE);

// What went wrong stays until it is read: a click or Escape takes it away.
function say(text, wrong = false) {
  if (!text && $("message").classList.contains("wrong")) return;
  $("message").textContent = text;
  $("message").classList.toggle("wrong", wrong);
}

function dismiss() {
  $("message").classList.remove("wrong");
  say("");
}

function showCounts(counts) {
  $("counts").textContent = ["open", "accepted", "rejected"].map(one => `${counts[one] || 0} ${one}`).join(" · ");
}

function redraw() {
  if (opening) return;
  const object = current();
  for (const id of ["accept", "reject", "accept-image", "reject-image", "hide", "exchange", "before", "after", "closer", "farther", "fit", "kind"]) $(id).disabled = !object;
  $("whole").hidden = !object || object.beside.length < 2;
  $("undo").disabled = !done.length;
  $("redo").disabled = !undone.length;
  $("work").hidden = !object;
  document.querySelector("aside").hidden = !object;
  if (!object) return;
  const one = flat(object), category = categoryNamed(one.category);
  stage.show(one, category, { chosen, names: $("names").checked, concerned: reasons.concerned(one) });
  reasons.show(one, putRight);
  showPoints(one, category, chosen, choose);
  $("hide").disabled = chosen === null || !one.points[chosen];
  $("exchange").setAttribute("aria-pressed", exchanging);
  const { name, value } = reasons.rating(one), rated = value === "–" ? `no ${name}` : `${name} ${value}`;
  $("heading").textContent = `${index + 1} of ${numbers.length} · ${one.file} · ${one.category} · ${rated} · ${one.decision}`;
  $("kind").value = one.category;
  showSources(object, category, chosen).catch(error => say(error.message, true));
}

async function open(position) {
  const own = ++openings;
  opening = numbers.length > 0;
  if (!opening) {
    index = 0;
    cards.fill([], null, null);
    $("page").textContent = "0 / 0";
    say("No object is left here: choose others above.");
    redraw();
    return;
  }
  const before = pageOf(index), onPage = $("cards").querySelector(`[data-number="${numbers[position]}"]`);
  index = position;
  chosen = null;
  exchanging = false;
  const first = pageOf(index) * PAGE, page = numbers.slice(first, first + PAGE);
  if (!server.objects.has(numbers[index])) $("heading").textContent = `Loading ${index + 1} of ${numbers.length} …`;
  try {
    await server.load(page);
  } catch (error) {
    if (own === openings) $("heading").textContent = `Not loaded: ${index + 1} of ${numbers.length}`;
    say(error.message, true);
    return;
  }
  if (own !== openings) return;  // another one was opened meanwhile
  opening = false;
  if (before !== pageOf(index) || !onPage) {
    cards.fill(page.map(number => flat(server.objects.get(number))), one => categoryNamed(one.category), openNumber);
  }
  cards.mark(numbers[index]);
  $("page").textContent = `${pageOf(index) + 1} / ${pageOf(numbers.length - 1) + 1}`;
  $("page-before").disabled = first === 0;
  $("page-after").disabled = first + PAGE >= numbers.length;
  redraw();
  preload(first).catch(() => {});
}

// What comes after this object and after its page, so that it is there when it is asked for.
async function preload(first) {
  const next = numbers.slice(index + 1, index + 3);
  await server.load([...next, ...numbers.slice(first + PAGE, first + 2 * PAGE)]);
  for (const number of next) new Image().src = imageAddress(server.objects.get(number).image, 1600);
}

const openNumber = number => open(numbers.indexOf(number));

function step(by) {
  const position = index + by;
  if (position >= 0 && position < numbers.length) open(position);
  else say(by > 0 ? "That was the last object of this list." : "This is the first object of this list.");
}

// The first object of the list is opened, or this one if it is listed.
async function list(number = null) {
  const asked = new URLSearchParams(["category", "decision", "order", "name"].map(id => [id, $(id).value]));
  try {
    const own = ++listing, answer = await server.ask(`api/list?${asked}`);
    if (own !== listing) return;  // another list was asked for meanwhile
    numbers = answer.numbers;
    showCounts(answer.counts);
    $("cards").replaceChildren();
    say("");
    await open(Math.max(0, numbers.indexOf(number)));
  } catch (error) {
    say(error.message, true);
  }
}

// Change the object that is worked on; the same `merge` joins changes that follow each other into one step of undo.
function act(state, merge = null) {
  if (current()) actTogether([{ number: current().number, state }], merge);
}

function actTogether(changes, merge = null) {
  if (changes.every(({ number, state }) => states.same(state, server.objects.get(number).state))) return;
  const saved = parts => {
    const last = done.at(-1);
    if (merge && last && last.merge === merge && states.same(last.parts[0].after, parts[0].before)) last.parts[0].after = parts[0].after;
    else done.push({ parts, merge });
    undone.length = 0;
    redraw();
  };
  saved.merge = merge;
  save(changes, saved);
}

function save(changes, saved) {
  $("saved").textContent = "Saving …";
  server.change(changes, saved);
}

// Decide on all objects of an image, as one step; then the next object of another image.
async function decideImage(object, chooses, decide) {
  await server.idle();
  await server.load(object.beside);
  const chosen = object.beside.map(number => server.objects.get(number)).filter(one => chooses(one.state.decision));
  if (!chosen.length) {
    say("Every object of this image is decided on already.");
    return;
  }
  actTogether(chosen.map(one => ({ number: one.number, state: decide(one.state) })));
  await server.idle();
  if (!object.beside.includes(numbers[index])) return;  // another image was opened meanwhile
  const next = numbers.findIndex((number, position) => position > index && !object.beside.includes(number));
  if (next >= 0) await open(next);
  else redraw();
}

// One after the other, however fast the keys come.
function inTurn(action) {
  turn = turn.then(action).catch(error => say(error.message, true));
}

// The image that is shown now, whatever is when its turn comes.
function onImage(chooses, decide) {
  const object = current();
  if (object) inTurn(() => decideImage(object, chooses, decide));
}

async function restore(from, to, before, after, what) {
  await server.idle();
  const entry = from.at(-1);
  if (!entry) return;
  const changed = entry.parts.map(part => part.number);
  await server.load(changed);
  const restored = entry.parts.map(part => ({ number: part.number, state: states.rebased(part[before], part[after], server.objects.get(part.number).state) }));
  if (restored.some(one => one.state === null)) {
    from.pop();
    say(`This object was changed in another window since: nothing was ${what}.`, true);
    redraw();
    return;
  }
  const shown = numbers.filter(number => changed.includes(number));
  if (shown.length) await openNumber(shown.includes(numbers[index]) ? numbers[index] : shown[0]);
  const finish = () => {
    from.pop();
    to.push({ ...entry, merge: null });
    redraw();
  };
  if (restored.every(one => states.same(one.state, server.objects.get(one.number).state))) finish();
  else save(restored, finish);
  await server.idle();
}

function choose(number) {
  const object = current();
  if (!object || (number !== null && number >= object.state.points.length)) return;
  if (exchanging && number !== null && number !== chosen) {
    exchanging = false;
    putRight(states.exchange(object.state, chosen, number));
    return;
  }
  exchanging = false;
  chosen = number;
  redraw();
}

// A point by itself, whatever was to be exchanged.
function take(number) {
  exchanging = false;
  choose(number);
}

function putRight(order) {
  const object = current();
  if (!object) return;
  dismiss();
  act(states.reorder(object.state, order));
}

// Of a chosen point the next one that is chosen says with which; the same action again, with that of the other side.
function exchange() {
  const object = current();
  if (!object) return;
  if (chosen === null) {
    const order = reasons.order(object);
    if (order) putRight(order);
    else say("Choose a point first, then Exchange, then the point to exchange it with.");
    return;
  }
  const { keypoints, mirrored } = categoryNamed(object.state.category), other = mirrored ? mirrored[chosen] : chosen;
  if (exchanging && other !== chosen) choose(other);
  else {
    exchanging = !exchanging;
    const further = other !== chosen ? `, or Exchange again for ${keypoints[other]}` : "";
    say(exchanging ? `Choose the point to exchange ${keypoints[chosen]} with${further}.` : "");
    redraw();
  }
}

const actions = {
  hasPoint: () => chosen !== null,
  step,
  choose,
  none() {
    dismiss();
    choose(null);
  },
  nextPoint() {
    const object = current();
    if (object) choose(chosen === null ? 0 : (chosen + 1) % object.state.points.length);
  },
  accept() {
    const object = current();
    if (!object) return;
    // Of an annotated object no single point waits to be accepted.
    if (chosen !== null && !object.annotated) act(states.acceptPoint(object.state, chosen, object.predicted[chosen]));
    else { act(states.accept(object.state)); choose(null); step(1); }
  },
  reject() {
    const object = current();
    if (!object) return;
    if (chosen !== null) act(states.removePoint(object.state, chosen));
    else { act(states.reject(object.state)); step(1); }
  },
  acceptImage: () => onImage(decision => decision === "open", states.accept),
  rejectImage: () => onImage(decision => decision !== "rejected", states.reject),
  hide() {
    if (current() && chosen !== null) act(states.coverPoint(current().state, chosen));
  },
  nudge(x, y) {
    const object = current();
    if (!object) return;
    const point = object.state.points[chosen] || object.predicted[chosen] || object.size?.map(side => side / 2);
    if (point && object.size) act(states.setPoint(object.state, chosen, point[0] + x, point[1] + y, object.size), `${object.number} ${chosen}`);
  },
  exchange,
  closer: () => stage.step(1),
  farther: () => stage.step(-1),
  whole: stage.whole,
  undo: () => inTurn(() => restore(done, undone, "after", "before", "undone")),
  redo: () => inTurn(() => restore(undone, done, "before", "after", "redone")),
};

function set(number, x, y) {
  const object = current();
  if (!object) return;
  take(number);
  act(states.setPoint(object.state, number, x, y, object.size));
}

async function poll() {
  try {
    if (!document.hidden && !server.pending()) {
      const answer = await server.refresh(revision);
      if (answer.revision !== revision) {
        revision = answer.revision;
        showCounts(answer.counts);
        if (answer.objects) answer.objects.forEach(one => refreshed(one.number));
        else { $("cards").replaceChildren(); await open(index); }
      }
    }
  } catch (error) {
    say(error.message, true);
  }
  setTimeout(poll, POLL);
}

function refreshed(number) {
  const object = server.objects.get(number);
  if (!object) return;
  cards.update(flat(object), categoryNamed(object.state.category), openNumber);
  if (number === numbers[index]) redraw();
}

function listen() {
  server.on("change", refreshed);
  server.on("message", ([number], text, counts, wrong) => {
    if (counts) showCounts(counts);
    $("saved").textContent = wrong ? "Not saved." : text;
    say(wrong ? `${server.objects.get(number).file}: ${text}` : "", wrong);
  });
  stage.start({
    choose,
    missing: path => server.ask(path).catch(error => say(error.message, true)),
    set,
    click: (x, y) => chosen === null
      ? say("Choose a point first: its number, or its row in the list.")
      : set(chosen, x, y),
  });
  keyboard.start(actions);
  $("message").addEventListener("click", dismiss);
  const buttons = { accept: actions.accept, reject: actions.reject, hide: actions.hide, exchange,
    "accept-image": actions.acceptImage, "reject-image": actions.rejectImage, undo: actions.undo, redo: actions.redo,
    closer: actions.closer, farther: actions.farther, fit: actions.whole, before: () => step(-1), after: () => step(1),
    "page-before": () => open((pageOf(index) - 1) * PAGE), "page-after": () => open((pageOf(index) + 1) * PAGE) };
  for (const [id, action] of Object.entries(buttons)) $(id).addEventListener("click", action);
  for (const id of ["category", "decision", "order", "name"]) $(id).addEventListener("input", () => list());
  $("names").addEventListener("change", () => redraw());
  $("kind").addEventListener("change", () => {
    const object = current();
    if (object) act(states.recategorize(object.state, categoryNamed(object.state.category), categoryNamed($("kind").value)));
  });
  $("write").addEventListener("click", async () => {
    try {
      say(`Written: ${(await server.ask("api/write", {})).files.join(", ")}`);
    } catch (error) {
      say(error.message, true);
    }
  });
  $("again-open").hidden = !about.again;
  if (about.again) again.start(async message => {
    // Whoever works on while it runs stays at their object.
    const number = $("again").open ? null : numbers[index];
    server.forget();
    await list(number);
    say(message);
  });
}

async function start() {
  about = await server.ask("api/about");
  revision = about.revision;
  setContent(about.content);
  document.title = `${about.file}: ${about.check ? "check" : "review"}`;
  if (about.check) {
    document.querySelector("#order [value=doubtful]").textContent = "most suspicious first";
    document.querySelector("#order [value=confident]").textContent = "least suspicious first";
  }
  $("title").textContent = about.file;
  $("output").textContent = about.output;
  $("notes").textContent = about.notes.map(note => `${note[0].toUpperCase()}${note.slice(1)}.`).join(" ");
  const option = name => make("option", { value: name }, name);
  $("category").replaceChildren(make("option", { value: "" }, "all"), ...about.categories.filter(one => one.used).map(one => option(one.name)));
  $("kind").replaceChildren(...about.categories.map(one => option(one.name)));
  listen();
  await list();
  setTimeout(poll, POLL);
}

start().catch(error => say(error.message, true));
