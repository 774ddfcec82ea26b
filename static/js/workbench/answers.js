// The answers on the form: ratings, the criterion that the letters mean, what is still missing, submit and skip.
import { changed } from "./drafts.js";
import { $, WORDS, bench, main } from "./state.js";

// A second press on an optional rating takes it back; radio groups of the browser know no such thing.
export function toggled(input) {
  const optional = input.closest("fieldset[data-optional]");
  if (optional && bench.page.chosen[input.name] === input.value) {
    input.checked = false;
    delete bench.page.chosen[input.name];
    changed();
  } else {
    bench.page.chosen[input.name] = input.value;
  }
}

export function mark(criterion) {
  for (const other of main.querySelectorAll(".criterion.current")) other.classList.remove("current");
  if (criterion) criterion.classList.add("current");
  explain(criterion);
}

// What the ratings of this criterion mean; of the current one where there is none.
export function explain(criterion) {
  const shown = criterion || $(".criterion.current", main);
  for (const text of main.querySelectorAll("[data-of]")) text.classList.toggle("shown", Boolean(shown) && text.dataset.of === shown.dataset.name);
}

// Once both answers are rated, the next criterion that lacks a rating is the one that the letters mean.
export function rate(letter) {
  const criterion = $(".criterion.current", main);
  const input = criterion && $(`[data-rate="${letter}"]`, criterion);
  if (!input) return false;
  const wasWhole = isWhole(criterion);
  input.click();
  input.focus();
  if (!wasWhole && isWhole(criterion)) {
    const next = [...main.querySelectorAll(".criterion")].find((other) => !isWhole(other));
    if (next) mark(next);
  }
  return true;
}

function isWhole(criterion) {
  return [...criterion.querySelectorAll("fieldset")].every((group) => $(":checked", group));
}

export function move(step) {
  const all = [...main.querySelectorAll(".criterion")];
  const next = all[all.indexOf($(".criterion.current", main)) + step];
  if (!next) return;
  mark(next);
  ($(":checked", next) || $("input", next)).focus();
}

export function missing() {
  return [...main.querySelectorAll("fieldset[data-required]")].find((group) => !$(":checked", group));
}

export function focusMissing() {
  const group = missing();
  const target = group ? $("input", group) : $("#problem");
  if (group && group.closest(".criterion")) mark(group.closest(".criterion"));
  target.focus();
}

export function submit() {
  if (bench.page && !bench.page.submitting) bench.page.form.requestSubmit($(".submit", bench.page.form));
}

// What was said to be missing is no longer said once nothing is.
export function clearProblem() {
  const problem = $("#problem");
  if (problem.textContent && !missing()) problem.textContent = "";
}

export function complete() {
  const group = missing();
  $("#problem").textContent = group ? WORDS.missing(group.dataset.title) : "";
  if (group) focusMissing();
  return !group;
}

export function askSkip(open) {
  const form = $("#skip");
  if (!form) return;
  form.hidden = !open;
  if (open) $("input[name=skip_reason]", form).focus();
  else $("#reading").focus({ preventScroll: true });
}
