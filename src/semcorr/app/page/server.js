// What the page asks the server, with the key of its work, and the work as the server has it.
"use strict";

const STORE = "semcorr-work", POLL = 3000;
const SILENT = "The server does not answer. Start it again, and reload the page: your work is kept.";
const subscribers = [];
let key = null, turn = Promise.resolve(), confirm = async () => true;

export const work = { value: null, subscribe: listener => { subscribers.push(listener); } };

// A browser that stores nothing shows a work until the page is left.
function stored(storage, value) {
  try {
    if (value === undefined) return storage.getItem(STORE);
    if (value === null) storage.removeItem(STORE); else storage.setItem(STORE, value);
  } catch { /* nothing is stored */ }
  return null;
}

function setKey(value) {
  key = value;
  stored(sessionStorage, value);
  stored(localStorage, value);
}

export const address = () => key ? `${location.origin}${location.pathname}#work=${key}` : "";

// The key of a link, else of this tab, else of the last work.
function findKey() {
  const linked = new URLSearchParams(location.hash.slice(1)).get("work");
  if (linked) history.replaceState(null, "", location.pathname + location.search);
  const found = linked || stored(sessionStorage) || stored(localStorage);
  if (found) setKey(found);
}

async function request(path, options = {}) {
  const headers = { ...options.headers, ...(key ? { "semcorr-work": key } : {}) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw Object.assign(new Error(SILENT), { status: 0 });
  }
  if (response.ok) return response;
  const type = response.headers.get("content-type") || "";
  const answer = type.startsWith("application/json") ? await response.json() : { error: await response.text() };
  throw Object.assign(new Error(answer.error || `The server answered ${response.status}.`), { status: response.status, answer });
}

// Only a work that holds something is made: the first step makes it.
async function needKey() {
  if (!key) setKey((await (await request("api/new", { method: "POST", body: "{}", headers: { "content-type": "application/json" } })).json()).key);
}

// Ask for JSON: a GET, or a POST with a body.
export async function ask(path, body) {
  if (body === undefined) return (await request(path)).json();
  await needKey();
  return (await request(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } })).json();
}

// Send a file as it is.
export async function send(path, file) {
  await needKey();
  return (await request(path, { method: "POST", body: file, headers: { "content-type": "application/octet-stream" } })).json();
}

// An image that only the work's key shows, as an address of this page. Whoever asks releases it.
export async function image(path) {
  return URL.createObjectURL(await (await request(path)).blob());
}

function keep(value) {
  work.value = value;
  for (const listener of subscribers) listener(value);
}

// One step of the work after the other. `call` is given the revision that is shown, and whether a loss was agreed to.
// Returns the answer, or null where the person did not agree.
function inTurn(call) {
  const done = turn.then(async () => {
    if (!work.value) await load();
    try {
      let answer = await call(work.value.revision, false);
      if (answer.question) {
        if (!await confirm(answer.question)) return null;
        answer = await call(work.value.revision, true);
      }
      if (answer.points) keep(answer);
      return answer;
    } catch (error) {
      if (error.answer && error.answer.work) keep(error.answer.work);
      throw error;
    }
  });
  turn = done.catch(() => {});
  return done;
}

export const onQuestion = listener => { confirm = listener; };

const messageOf = answer => answer && (answer.message || "");

// A step of the work; the message about it, or null where it was not done.
export const step = async (name, fields = {}) =>
  messageOf(await inTurn((base, sure) => ask(`api/work/${name}`, { ...fields, base, ...(sure ? { sure } : {}) })));

export async function upload(kind, file) {
  const name = encodeURIComponent(file.name || "pasted.png");
  return messageOf(await inTurn((base, sure) => send(`api/work/${kind}?name=${name}&base=${base}${sure ? "&sure=1" : ""}`, file)));
}

// Begin a run on the work as it is shown.
export const begin = (path, fields) => inTurn(base => ask(path, { ...fields, base }));

// What the server has now.
async function load() {
  const since = work.value ? `?since=${work.value.revision}` : "";
  const value = await ask(`api/work${since}`);
  if (value.points) keep(value);
}

// After the steps that are under way: an answer never replaces a later one.
export function refresh() {
  const done = turn.then(load);
  turn = done.catch(() => {});
  return done;
}

function lose() {
  setKey(null);
  work.value = null;
}

// A new, empty work; the earlier one stays on the server, under its key.
export async function leave() {
  lose();
  await refresh();
}

// Opens the work of this page; returns the error that says that an earlier one is gone, or null.
export async function open() {
  findKey();
  try {
    await refresh();
    return null;
  } catch (error) {
    if (!error.answer || !error.answer.gone) throw error;
    lose();
    await refresh();
    return error;
  }
}

// Steps of another page that shows the same work.
export function follow(say) {
  let silent = false;
  async function check() {
    try {
      if (key && !document.hidden) await refresh();
      if (silent) say("");
      silent = false;
    } catch (error) {
      if (error.answer && error.answer.gone) {
        await leave().catch(() => {});
        say(error.message, true);
      } else if (!silent) {
        silent = true;
        say(error.message, true);
      }
    }
    setTimeout(check, POLL);
  }
  setTimeout(check, POLL);
  document.addEventListener("visibilitychange", () => { if (!document.hidden && key) refresh().catch(() => {}); });
}
