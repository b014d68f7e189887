// What the page asks the server, and the objects that it knows. Changes are sent one after the other.
"use strict";
import { rebased, same } from "./states.js";

export const objects = new Map();   // as shown: what is saved, with changes that are under way
const saved = new Map();            // as the server has them
const waiting = [];                 // changes that are not sent yet
let sending = null;                 // while there are any
const listeners = { change: () => {}, message: () => {} };
export const on = (what, listener) => { listeners[what] = listener; };

export async function ask(path, body) {
  const options = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("The server does not answer: nothing can be saved. Start it again, and open the address that it prints."), { status: 0 });
  }
  const type = response.headers.get("content-type") || "";
  const answer = type.startsWith("application/json") ? await response.json() : { error: await response.text() };
  if (!response.ok) throw Object.assign(new Error(answer.error), { status: response.status });
  return answer;
}

function keep(object) {
  saved.set(object.number, object);
  if (!waiting.some(one => one.number === object.number)) objects.set(object.number, object);
}

export async function load(numbers) {
  const missing = numbers.filter(number => !objects.has(number));
  for (let start = 0; start < missing.length; start += 60) {
    const answer = await ask(`api/objects?numbers=${missing.slice(start, start + 60)}`);
    answer.objects.forEach(keep);
  }
}

// Objects that were changed elsewhere; returns whether there are any.
export async function refresh(since) {
  const answer = await ask(`api/changes?since=${since}`);
  if (answer.objects) answer.objects.filter(one => !same(one, saved.get(one.number))).forEach(keep);
  else forget();
  return answer;
}

export function forget() {
  for (const number of [...objects.keys()]) if (!waiting.some(one => one.number === number)) objects.delete(number);
}

// Change an object to a state; `done` gets the state before and the state that was saved.
export function change(number, state, done = () => {}) {
  const object = objects.get(number);
  if (same(object.state, state)) return;
  // What is not sent yet and changes the same points is sent as one: arrows that repeat.
  const last = waiting.at(-1);
  if (last && !last.sent && last.number === number && last.merge && done.merge === last.merge) Object.assign(last, { after: state });
  else waiting.push({ number, base: object.revision, before: object.state, after: state, done, merge: done.merge });
  objects.set(number, { ...object, state });
  listeners.change(number);
  sending ||= send().finally(() => { sending = null; });
}

async function send() {
  while (waiting.length) {
    const one = waiting[0];
    one.sent = true;
    try {
      const answer = await put(one);
      waiting.shift();
      saved.set(one.number, answer.object);
      const further = waiting.filter(other => other.number === one.number);
      for (const other of further) other.base = answer.object.revision;
      objects.set(one.number, further.length ? { ...answer.object, state: objects.get(one.number).state } : answer.object);
      one.done(one.before, answer.object.state);
      listeners.message(one.number, waiting.length ? `Saving ${waiting.length} …` : "Saved.", answer.counts);
    } catch (error) {
      // Later changes of the object were made on this one.
      for (let index = waiting.length - 1; index >= 0; index--) if (waiting[index].number === one.number) waiting.splice(index, 1);
      objects.set(one.number, saved.get(one.number));
      listeners.message(one.number, error.message, null, true);
    }
    listeners.change(one.number);
  }
}

async function put(one, again = true) {
  const known = saved.get(one.number);
  const merged = rebased(one.before, one.after, known.state);
  if (merged === null && known.revision !== one.base) throw new Error("This object was changed in another window meanwhile. It is shown as it is now.");
  // Null with the same revision: the server settled the change before, which is this page's own, in another way.
  const state = merged ?? one.after;
  try {
    return await ask(`api/objects/${one.number}`, { base: known.revision, state });
  } catch (error) {
    if (error.status !== 409) throw error;
    const { objects: [now] } = await ask(`api/objects?numbers=${one.number}`);
    saved.set(one.number, now);
    if (!again) throw error;
    return put(one, false);
  }
}

export const pending = () => waiting.length;
export const idle = () => sending || Promise.resolve();
