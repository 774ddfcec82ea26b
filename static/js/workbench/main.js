// The workbench: what happens on the page, and which part of it answers. The server keeps everything; these scripts
// only hurry it along.
import { askSkip, clearProblem, complete, explain, filled, mark, stepBy, toggled } from "./answers.js";
import { changed, saveBeforeLeaving, showSaved } from "./drafts.js";
import "./mirrored.js";
import { alive, begin, release, tick } from "./item.js";
import { pressed } from "./keys.js";
import { fetchAhead, flush, send, takeUp } from "./network.js";
import { offerRefused } from "./refused.js";
import { answers, forgetOld } from "./store.js";
import { $, WORDS, bench, main, token } from "./state.js";

document.addEventListener("keydown", pressed);
for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "touchstart", "scroll"]) {
  document.addEventListener(kind, alive, { passive: true, capture: true });
}
main.addEventListener("input", (event) => {
  if (!bench.page || !bench.page.form.contains(event.target)) return;
  changed();
  filled(event.target);
  clearProblem();
});
main.addEventListener("click", (event) => {
  if (event.target.matches("input[type=radio]")) toggled(event.target);
  if (event.target.closest("[data-skip]")) askSkip(true);
  if (event.target.closest("[data-unskip]")) askSkip(false);
  const stepper = event.target.closest("[data-step]");
  if (stepper) stepBy(Number(stepper.dataset.step));
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
});
main.addEventListener("focusin", (event) => {
  const question = event.target.closest("[data-question]");
  if (question) mark(question);
});
main.addEventListener("pointerover", (event) => explain(event.target.closest(".criterion")));
window.addEventListener("pagehide", saveBeforeLeaving);
document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") saveBeforeLeaving(); });

document.body.addEventListener("htmx:configRequest", (event) => {
  event.detail.headers["x-csrftoken"] = token();
  if (event.detail.verb === "post") event.detail.parameters.csrfmiddlewaretoken = token();
});
main.addEventListener("submit", (event) => {
  if (!bench.page || !event.target.matches("#answer, #skip")) return;
  event.preventDefault();
  if (bench.page.submitting) return;
  if (event.target.id === "skip") send(event.target, event.submitter, WORDS.skipped);
  else if (complete()) send(event.target, event.submitter, WORDS.kept);
});
main.addEventListener("htmx:beforeSwap", (event) => {
  if (!new URL(event.detail.xhr.responseURL).pathname.includes("/label/")) {
    event.detail.shouldSwap = false;  // the sign-in page does not belong here
    window.say(WORDS.signedOut);
    release();
  }
});
main.addEventListener("htmx:sendError", (event) => {
  release();
  event.stopPropagation();
  window.say(WORDS.nothing);
});
main.addEventListener("htmx:responseError", (event) => {
  release();
  if (event.detail.xhr.status !== 403) return;
  event.stopPropagation();  // what 403 means here is said better than by the frame
  window.say(WORDS.signedOut);
});
main.addEventListener("htmx:confirm", (event) => {
  // What follows from an answer, as bringing it back does, waits until it has arrived.
  if (event.detail.target !== main || !answers().length) return;
  event.preventDefault();
  flush().then(() => { if (!answers().length) event.detail.issueRequest(true); });
});
main.addEventListener("htmx:beforeRequest", (event) => {
  // Whatever takes the item off the screen: what is not saved yet goes first.
  if (event.detail.target === main && bench.page) saveBeforeLeaving();
});
main.addEventListener("htmx:afterSwap", (event) => {
  // Not when it settles: by then a quick hand is typing already, and moving the focus would scatter its words.
  if (event.detail.target !== main) return;
  begin();
  fetchAhead();
});
main.addEventListener("htmx:afterSettle", (event) => {
  if (event.detail.target !== main && $("#start") && !$("dialog[open]")) $("#start").focus();
});
document.body.addEventListener("workbench:say", (event) => window.say(event.detail.value));

window.addEventListener("online", flush);
window.addEventListener("storage", showSaved);

forgetOld();
setInterval(tick, 1000);
begin();
takeUp();
fetchAhead();
offerRefused();
