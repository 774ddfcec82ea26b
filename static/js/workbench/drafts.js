// Drafts: what is filled in is kept in this browser at once and on the server soon; the strip says where it is.
import { $, WORDS, bench, headers, token } from "./state.js";
import { answers, draftOf, dropDraft, keepDraft } from "./store.js";

export const DEBOUNCE = 400;  // milliseconds from a change to the saving of the draft
const RETRY = 5000;           // milliseconds until a draft that could not be saved is sent again
const OWN = new Set(["csrfmiddlewaretoken", "key", "guideline_version", "rubric_version", "seconds", "number"]);

export function changed() {
  if (!bench.page) return;
  bench.page.dirty = true;
  keepDraft(bench.page.assignment, filledIn(bench.page.form).toString());
  later(DEBOUNCE);
}

export function later(wait) {
  clearTimeout(bench.page.timer);
  bench.page.timer = setTimeout(save, wait);
}

function filledIn(form) {
  const body = new URLSearchParams(new FormData(form));
  body.delete("csrfmiddlewaretoken");
  return body;
}

// Fill in what was typed here and never reached the server, however the page was left.
export function restore() {
  const here = bench.page;
  const kept = here && draftOf(here.assignment);
  if (!kept) return;
  const values = new URLSearchParams(kept.body);
  for (const control of here.form.elements) {
    if (!control.name || OWN.has(control.name)) continue;
    if (control.matches("[type=radio], [type=checkbox]")) control.checked = values.getAll(control.name).includes(control.value);
    else if (values.has(control.name)) control.value = values.get(control.name);
  }
  changed();
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
    if (response.status === 409) warn(here, WORDS.somebodyElse);
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
  else dropDraft(here.assignment);
}

// Said once for each item, however often it happens.
function warn(here, words) {
  if (here.warned !== words) window.say(words);
  here.warned = words;
}

function draftRequest(here) {
  const body = filledIn(here.form);
  here.number += 1;
  body.set("csrfmiddlewaretoken", token());
  body.set("number", here.number);
  body.set("seconds", here.seconds.toFixed(1));
  return { method: "POST", body, headers: headers(), keepalive: body.toString().length < 60000 };
}

function heard(here, answer) {
  here.savedAt = Date.now();
  bench.heard = Date.now();
  setState("saved");
  if (!answer.held) warn(here, WORDS.lost);
}

export function saveBeforeLeaving() {
  const here = bench.page;
  if (!here || !here.dirty || here.submitting) return;
  here.dirty = false;
  clearTimeout(here.timer);
  const sent = filledIn(here.form).toString();
  fetch(here.form.dataset.draft, draftRequest(here)).then((response) => {
    const kept = draftOf(here.assignment);
    if (response.ok && !response.redirected && kept && kept.body === sent) dropDraft(here.assignment);
  }).catch(() => {});
}

function setState(state) {
  if (bench.page) bench.page.state = state;
  showSaved();
}

export function showSaved() {
  const place = $("#saved");
  if (!place) return;
  const waiting = answers().filter((entry) => Date.now() - entry.at > 1000).length;  // those just sent are no news
  const unsaved = Boolean(bench.page) && bench.page.state === "unsaved";
  const words = waiting ? WORDS.waiting(waiting) : unsaved ? WORDS.unsaved : sinceSaved();
  if (place.textContent !== words) place.textContent = words;
  place.classList.toggle("warn", unsaved || waiting > 0);
}

function sinceSaved() {
  if (!bench.page) return "";
  if (bench.page.state === "saving") return WORDS.saving;
  if (!bench.page.savedAt) return "";
  const seconds = Math.round((Date.now() - bench.page.savedAt) / 1000);
  if (seconds < 2) return WORDS.now;
  return seconds < 60 ? WORDS.seconds(seconds) : WORDS.minutes(Math.floor(seconds / 60));
}
