// Drafts: what is filled in goes to the server on every change, and the strip says what is saved.
import { $, WORDS, bench, token } from "./state.js";

export const DEBOUNCE = 400;  // milliseconds from a change to the saving of the draft
const RETRY = 5000;           // milliseconds until a draft that could not be saved is sent again

export function changed() {
  if (!bench.page) return;
  bench.page.dirty = true;
  later(DEBOUNCE);
}

export function later(wait) {
  clearTimeout(bench.page.timer);
  bench.page.timer = setTimeout(save, wait);
}

export async function save() {
  const here = bench.page;
  if (!here || here.submitting || here.sending) return;
  here.dirty = false;
  here.sending = true;
  here.told = Date.now();
  setState("saving");
  try {
    const response = await fetch(here.form.dataset.draft, draftRequest(here));
    if (here !== bench.page) return;
    if (response.redirected || response.status === 403) warn(here, WORDS.signedOut);
    if (response.redirected || !response.ok) throw new TypeError("not saved");
    heard(here, await response.json());
  } catch {
    if (here !== bench.page) return;
    here.sending = false;
    here.dirty = true;
    setState("unsaved");
    later(RETRY);
    return;
  }
  here.sending = false;
  if (here.dirty) later(DEBOUNCE);
}

// Said once for each item, however often it happens.
function warn(here, words) {
  if (here.warned !== words) window.say(words);
  here.warned = words;
}

function draftRequest(here) {
  const body = new URLSearchParams(new FormData(here.form));
  here.number += 1;
  body.set("csrfmiddlewaretoken", token());
  body.set("number", here.number);
  body.set("seconds", here.seconds.toFixed(1));
  return { method: "POST", body, headers: { "X-CSRFToken": token() }, keepalive: body.toString().length < 60000 };
}

function heard(here, answer) {
  here.savedAt = Date.now();
  setState("saved");
  if (!answer.held) warn(here, WORDS.lost);
}

export function saveBeforeLeaving() {
  if (!bench.page || !bench.page.dirty) return;
  bench.page.dirty = false;
  clearTimeout(bench.page.timer);
  fetch(bench.page.form.dataset.draft, draftRequest(bench.page)).catch(() => {});
}

function setState(state) {
  if (bench.page) bench.page.state = state;
  showSaved();
}

export function showSaved() {
  const place = $("#saved");
  if (!place) return;
  const seconds = bench.page && bench.page.savedAt ? Math.round((Date.now() - bench.page.savedAt) / 1000) : null;
  let words = "";
  if (bench.page && bench.page.state === "saving") words = WORDS.saving;
  else if (bench.page && bench.page.state === "unsaved") words = WORDS.unsaved;
  else if (seconds !== null) words = seconds < 2 ? WORDS.now : seconds < 60 ? WORDS.seconds(seconds) : WORDS.minutes(Math.floor(seconds / 60));
  place.textContent = words;
  place.classList.toggle("warn", Boolean(bench.page) && bench.page.state === "unsaved");
}
