// The way to the server and back: answers go out one after the other, each until it has arrived, and the next item
// is there before it is needed. An answer carries the key of its page, so that arriving twice it counts once.
import { saveBeforeLeaving, showSaved } from "./drafts.js";
import { begin } from "./item.js";
import { offerRefused } from "./refused.js";
import { $, WORDS, bench, headers, main } from "./state.js";
import { answers, dropAnswer, dropDraft, keepAnswer } from "./store.js";

const RETRY = 3000;  // milliseconds until what could not be sent is sent again
let running = null;  // the sending that is going on: one at a time
let timer = null;
let told = "";       // what was last said about the network, so that it is said once

class Stopped extends Error {}  // the way is barred for now; the message says why

// Keep the answer (or the skip) in this browser, go on with the item fetched ahead, and send.
export function send(form, submitter, said) {
  const here = bench.page;
  const body = new URLSearchParams(new FormData(form, submitter));
  body.delete("csrfmiddlewaretoken");
  body.set("seconds", here.seconds.toFixed(1));
  const key = body.get("key") || `skip-${here.assignment}`;
  keepAnswer({ url: form.getAttribute("action"), assignment: here.assignment, key, body: body.toString(), at: Date.now(), title: document.title.split(" · ")[0] });
  clearTimeout(here.timer);
  dropDraft(here.assignment);
  here.submitting = true;
  here.dirty = false;
  if (!here.again && aheadIsFresh()) showAhead(said);
  flush();
}

// A lease that nobody kept alive may be somebody else's by now. Without a network there is no better one.
function aheadIsFresh() {
  return bench.ahead && (!navigator.onLine || Date.now() - bench.heard < Number(main.dataset.lease) * 60000);
}

function showAhead(said) {
  const { html } = bench.ahead;
  bench.ahead = null;
  show(html, main.dataset.home, said);
}

// Send what waits. When it ends, all has arrived or the way is barred.
export function flush() {
  clearTimeout(timer);
  if (!running) running = sendAll().finally(() => { running = null; });
  return running;
}

async function sendAll() {
  showSaved();
  try {
    for (let entry = answers()[0]; entry; entry = answers()[0]) await deliver(entry);
    told = "";
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    barred(error.message);
  }
  showSaved();
  if (!answers().length && bench.away) showNext();
}

// The answer stays here. Who has nothing further to do is told to wait.
function barred(words) {
  if (told !== words) window.say(words);
  told = words;
  if (bench.page && bench.page.submitting) wait();
  timer = setTimeout(flush, RETRY);
}

async function deliver(entry) {
  const body = new URLSearchParams(entry.body);
  if (bench.page && bench.page.assignment !== entry.assignment) body.set("ahead", bench.page.assignment);
  const response = await reach(entry.url, { method: "POST", body, keepalive: entry.body.length < 60000 });
  const text = await response.text();
  if (response.ok || response.status === 422 || entry.key.startsWith("skip-")) dropAnswer(entry);
  else keepAnswer({ ...entry, refused: response.status });
  if (response.status === 422) return bringBack(text, response);
  if (!response.ok) return refused(entry);
  arrived(entry, response, text);
}

// The server's answer. Throws Stopped where there is none that counts.
async function reach(url, request = {}) {
  let response;
  try {
    response = await fetch(url, { ...request, headers: headers() });
  } catch {
    throw new Stopped(WORDS.nothing);
  }
  if (response.status === 409) throw new Stopped(WORDS.somebodyElse);
  if (response.status === 403 || !new URL(response.url).pathname.includes("/label/")) throw new Stopped(WORDS.signedOut);
  if (response.status >= 500 || response.status === 429) throw new Stopped(WORDS.nothing);
  bench.heard = Date.now();
  return response;
}

function arrived(entry, response, html) {
  const saying = response.headers.get("HX-Trigger");
  if (saying) window.say(JSON.parse(saying)["workbench:say"]);
  const here = bench.page;
  const ahead = response.headers.get("X-Ahead");
  refreshStrip(html);
  if (ahead) {
    bench.ahead = { assignment: ahead, html };
    if (here && here.submitting && here.assignment !== entry.assignment) showAhead("");
  } else if (!answers().length && response.headers.get("HX-Replace-Url") && (bench.away || (here && here.assignment === entry.assignment))) {
    show(html, response.headers.get("HX-Replace-Url"));
  }
}

// What could not be taken: its item is on the screen again as it was sent, and says what is missing.
function bringBack(html, response) {
  saveBeforeLeaving();
  show(html, response.headers.get("HX-Replace-Url"));
}

function refused(entry) {
  if (bench.page && bench.page.assignment === entry.assignment) wait();
  offerRefused();
}

// The counts on the strip are those of the last page that came.
function refreshStrip(html) {
  const came = parsed(html);
  for (const part of came.querySelectorAll("[data-count]")) {
    const place = $(`[data-count="${part.dataset.count}"]`, main);
    if (place) place.replaceWith(part);
  }
}

function parsed(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content;
}

// Put a region on the screen, with its title and its address; `said` is announced before the item's own words.
export function show(html, address, said = "") {
  const region = parsed(html);
  const title = $("title", region);
  if (title) document.title = title.textContent;
  if (title) title.remove();
  bench.away = false;
  main.replaceChildren(region);
  window.htmx.process(main);
  if (address) history.replaceState(null, "", address);
  begin(said);
  fetchAhead();
}

export async function showNext() {
  try {
    const response = await reach(main.dataset.home);
    const text = await response.text();
    if (bench.away && response.ok) show(text, main.dataset.home);
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
    timer = setTimeout(() => { if (bench.away) showNext(); }, RETRY);
  }
}

// Nothing is left on this side of the network.
export function wait() {
  const reading = $("#away").content.cloneNode(true);
  bench.page = null;
  bench.away = true;
  for (const old of main.querySelectorAll("#reading, .dock")) old.remove();
  main.append(reading);
  $("#reading").focus({ preventScroll: true });
  showSaved();
}

// Fetch what comes after the item on the screen, unless an answer on its way will bring it.
export async function fetchAhead() {
  const here = bench.page;
  if (bench.ahead && here && bench.ahead.assignment === here.assignment) bench.ahead = null;
  if (!here || here.again || bench.ahead || answers().length) return;
  try {
    const response = await reach(`${main.dataset.ahead}?on=${here.assignment}`);
    const html = await response.text();
    const assignment = response.headers.get("X-Ahead");
    if (assignment && bench.page === here && !here.submitting) bench.ahead = { assignment, html };
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;  // then the next item is fetched when it is needed
  }
}

// A page that opens may find answers that an earlier one could not send; one may be to the item that it shows.
export function takeUp() {
  const waiting = answers();
  if (bench.page && !bench.page.again && waiting.some((entry) => entry.assignment === bench.page.assignment)) wait();
  if (waiting.length) flush();
}
