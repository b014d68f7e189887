// What the page asks the server, and the objects that it knows. Changes are sent one after the other.
"use strict";
import { rebased, same } from "./states.js";

export const objects = new Map();   // as shown: what is saved, with changes that are under way
const saved = new Map();            // as the server has them
const waiting = [];                 // changes that are not sent yet, each of one object or of several together
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

const lastOf = number => waiting.flatMap(one => one.parts).findLast(part => part.number === number);

// Show an object as the server has it, with the changes that are under way.
function show(number) {
  const last = lastOf(number), known = saved.get(number);
  objects.set(number, last ? { ...known, state: last.after } : known);
}

// An answer may come late: a later revision stays.
function keep(object) {
  if (!(saved.get(object.number)?.revision > object.revision)) saved.set(object.number, object);
  show(object.number);
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
  for (const number of [...objects.keys()]) if (!lastOf(number)) objects.delete(number);
}

// Change objects to states, all or none; `done` gets the parts that were saved: number, the state before, that after.
export function change(states, done = () => {}) {
  const parts = states.map(({ number, state }) => ({ number, base: objects.get(number).revision, before: objects.get(number).state, after: state }))
    .filter(part => !same(part.before, part.after));
  if (!parts.length) return;
  // What is not sent yet and changes the same points is sent as one: arrows that repeat.
  const last = waiting.at(-1);
  if (last && !last.sent && last.merge && done.merge === last.merge) last.parts[0].after = parts[0].after;
  else waiting.push({ parts, done, merge: done.merge });
  for (const { number } of parts) {
    show(number);
    listeners.change(number);
  }
  sending ||= send().finally(() => { sending = null; });
}

async function send() {
  while (waiting.length) {
    const one = waiting[0], changed = new Set(one.parts.map(part => part.number));
    one.sent = true;
    try {
      const answer = await put(one.parts);
      waiting.shift();
      const after = new Map(answer.objects.map(object => [object.number, object]));
      for (const part of waiting.flatMap(other => other.parts)) if (after.has(part.number)) part.base = after.get(part.number).revision;
      answer.objects.forEach(keep);
      one.done(one.parts.map(({ number, before }) => ({ number, before, after: after.get(number).state })));
      listeners.message([...changed], waiting.length ? `Saving ${waiting.length} …` : "Saved.", answer.counts);
    } catch (error) {
      // Later changes of the same objects were made on this one.
      const dropped = waiting.splice(0), touched = parts => parts.some(part => changed.has(part.number));
      for (const other of dropped) {
        if (touched(other.parts)) other.parts.forEach(part => changed.add(part.number));
        else waiting.push(other);
      }
      changed.forEach(show);
      listeners.message([...changed], error.message, null, true);
    }
    changed.forEach(number => listeners.change(number));
  }
}

async function put(parts, again = true) {
  const changes = parts.map(part => {
    const known = saved.get(part.number), merged = rebased(part.before, part.after, known.state);
    if (merged === null && known.revision !== part.base) throw new Error("This object was changed in another window meanwhile. It is shown as it is now.");
    // Null with the same revision: the server settled the change before, which is this page's own, in another way.
    return { number: part.number, base: known.revision, state: merged ?? part.after };
  });
  try {
    return await ask("api/objects", changes);
  } catch (error) {
    if (error.status !== 409) throw error;
    const now = await ask(`api/objects?numbers=${parts.map(part => part.number)}`);
    now.objects.forEach(object => saved.set(object.number, object));
    if (!again) throw error;
    return put(parts, false);
  }
}

export const pending = () => waiting.length;
export const idle = () => sending || Promise.resolve();
