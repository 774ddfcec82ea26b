// The questions on the form: which one the keys mean, which are asked, what is still missing, submit and skip.
// Every question is an element with data-question; what its kind does by itself stands in the kind's own script.
import { critique } from "./critiques.js";
import { changed } from "./drafts.js";
import { ranking } from "./ranking.js";
import { span } from "./spans.js";
import { $, bench, main } from "./state.js";
import { step } from "./steps.js";

const checked = (question) => Boolean($(":checked", question));
const KINDS = {
  preference: { isWhole: checked, advances: true },
  choice: { isWhole: checked, advances: true },
  rating: { isWhole: (question) => !lackingGroup(question), lacks: (question) => lackingGroup(question).dataset.lacks, advances: true },
  ranking, critique, step, span,
};
const MOST_AT_ONCE = 3;  // more blocks of questions than this are shown one at a time; steps take the room of two

const kindOf = (question) => KINDS[question.dataset.kind];
const isWhole = (question) => kindOf(question).isWhole(question);
const lackingGroup = (question) => [...question.querySelectorAll("fieldset")].find((group) => !$(":checked", group));
const current = () => $("[data-question].current", main);
const bulk = () => main.querySelectorAll(".ask").length + main.querySelectorAll(".ask.step").length;
const blocks = () => [...main.querySelectorAll(".ask")].filter((block) => !block.hidden);
const questions = () => [...main.querySelectorAll("#answer [data-question]")].filter((question) => !question.hidden);

// --- Drawing: everything that follows from what stands in the fields ---

// A new item: the first question is the one that the keys mean. Call `redraw` alone when the fields were filled anew.
export function open(form) {
  for (const question of main.querySelectorAll("[data-question]")) kindOf(question).open?.(question);
  form.classList.toggle("stepwise", Boolean($(".stepper", form)) && bulk() > MOST_AT_ONCE);
  redraw();
  mark(questions().find((question) => !isWhole(question)) || questions()[0]);
}

export function redraw() {
  bench.page.chosen = {};
  for (const input of bench.page.form.querySelectorAll("input[type=radio]:checked")) bench.page.chosen[input.name] = input.value;
  consider();
  for (const question of main.querySelectorAll("[data-question]")) kindOf(question).redraw?.(question);
}

// Questions that depend on others come and go. The focus stays where it is, unless its question went.
export function consider() {
  const conditional = [...main.querySelectorAll("[data-when]")];
  for (let round = 0; round <= conditional.length; round += 1) {
    for (const question of conditional) question.hidden = !isMet(question);
  }
  for (const block of main.querySelectorAll(".ask.ratings")) block.hidden = !$("[data-question]:not([hidden])", block);
  const now = current();
  if (now && now.hidden) mark(questions().find((question) => follows(now, question)) || questions().at(-1));
  else drawStepper();
}

const follows = (one, other) => Boolean(one.compareDocumentPosition(other) & Node.DOCUMENT_POSITION_FOLLOWING);

function isMet(question) {
  const { when, is } = question.dataset;
  const inputs = [...bench.page.form.querySelectorAll("input:checked")].filter((input) => input.name === when || (input.name.startsWith(`${when}-`) && /^-\d+$/.test(input.name.slice(when.length))));
  return inputs.some((input) => is.split("|").includes(input.value) && !input.closest("[data-question]").hidden);
}

// What was filled in by hand: drawn again where the kind shows more than its fields.
export function filled(target) {
  consider();
  const question = target.closest("[data-question]");
  if (question) kindOf(question).redraw?.(question);
}

// --- The question that the keys mean ---

export function mark(question) {
  for (const other of main.querySelectorAll(".current")) if (other !== question) other.classList.remove("current");
  if (question) {
    question.classList.add("current");
    question.closest(".ask").classList.add("current");
  }
  explain(question);
  drawStepper();
}

// What the ratings of this criterion mean; of the current one where there is none.
export function explain(criterion) {
  const shown = criterion || current();
  for (const text of main.querySelectorAll(".anchors [data-of]")) text.classList.toggle("shown", Boolean(shown) && text.dataset.of === shown.dataset.question);
}

function drawStepper() {
  const stepper = $(".stepper", main);
  if (!stepper) return;
  stepper.hidden = !bench.page.form.classList.contains("stepwise");
  const all = blocks();
  const at = all.findIndex((block) => block.classList.contains("current"));
  const words = $("[data-words]", stepper);
  words.textContent = words.dataset.words.replace("%n", at + 1).replace("%m", all.length);
  $("[data-step='-1']", stepper).disabled = at <= 0;
  $("[data-step='1']", stepper).disabled = at === all.length - 1;
}

const isStepwise = () => bench.page.form.classList.contains("stepwise");

// To the question before or after, out of a kind's own rows where it has them.
export function move(by) {
  const now = current();
  if (now && kindOf(now).move?.(now, by)) return;
  const all = questions();
  const next = all[all.indexOf(now) + by];
  if (next) enter(next, by);
}

export function stepBy(by) {
  const all = blocks();
  const next = all[all.findIndex((block) => block.classList.contains("current")) + by];
  if (next) enter(next.matches("[data-question]") ? next : $("[data-question]:not([hidden])", next), by);
}

// The focus goes to a control that takes no typing, so that the keys go on meaning what they mean.
function enter(question, by = 1) {
  mark(question);
  if (kindOf(question).enter?.(question, by)) return;
  ($("input:checked", question) || $("input", question) || question).focus();
}

// --- Keys ---

// A key that the current question has comes before all others.
export function press(name) {
  const question = bench.page && current();
  return Boolean(question) && hit(question, name);
}

// Any other question on the screen that has this key: the next that lacks an answer, else the nearest before.
export function pressElsewhere(name) {
  if (!bench.page || isStepwise()) return false;
  const now = current();
  const having = questions().filter((question) => question !== now && $(`[data-rate="${CSS.escape(name)}"]`, question));
  const question = having.find((one) => now && follows(now, one) && !isWhole(one)) || having.filter((one) => now && follows(one, now)).at(-1) || having[0];
  if (!question) return false;
  mark(question);
  return hit(question, name);
}

// Once a question is answered, the next that lacks an answer is the one that the keys mean.
function hit(question, name) {
  const kind = kindOf(question);
  const wasWhole = isWhole(question);
  if (!(kind.press ? kind.press(question, name) : clicked(question, name))) return false;
  if (kind.advances && !wasWhole && isWhole(question) && !$("input[type=checkbox]", question)) advance(question);
  return true;
}

function clicked(question, name) {
  const input = $(`[data-rate="${CSS.escape(name)}"]`, question);
  if (!input) return false;
  input.click();
  input.focus();
  return true;
}

function advance(question) {
  const next = questions().find((other) => follows(question, other) && !isWhole(other)) || questions().find((other) => !isWhole(other));
  if (!next) return;
  if (isStepwise() && next.closest(".ask") !== question.closest(".ask")) enter(next);
  else mark(next);
}

export function lift(event) {
  const question = bench.page && current();
  return Boolean(question && kindOf(question).lift?.(question, event.key));
}

// A second press on an optional answer takes it back; radio groups of the browser know no such thing.
export function toggled(input) {
  if (input.closest("[data-optional]") && bench.page.chosen[input.name] === input.value) {
    input.checked = false;
    delete bench.page.chosen[input.name];
    changed();
    consider();
  } else {
    bench.page.chosen[input.name] = input.value;
  }
}

// --- Is it whole? ---

// The first question that may not be left as it is: required and not answered, or begun and not finished.
export function missing() {
  return questions().find((question) => ("required" in question.dataset || kindOf(question).isBegun?.(question)) && !isWhole(question));
}

const lacking = (question) => kindOf(question).lacks?.(question) || question.dataset.lacks;

export function focusMissing() {
  const question = missing();
  if (!question) return $("#problem").focus();
  mark(question);
  if (kindOf(question).focusMissing?.(question)) return undefined;
  return ($("input", lackingGroup(question) || question) || question).focus();
}

// Enter: where questions come one at a time, on to the next one that lacks an answer; then it is sent.
export function submit() {
  if (!bench.page || bench.page.submitting) return;
  const now = current();
  const waiting = isStepwise() && questions().find((question) => question !== now && follows(now, question) && !isWhole(question) && question.closest(".ask") !== now.closest(".ask"));
  if (waiting && !("required" in now.dataset && !isWhole(now))) return enter(waiting);
  bench.page.form.requestSubmit($(".submit", bench.page.form));
}

// What was said to be missing is no longer said once nothing is.
export function clearProblem() {
  const problem = $("#problem");
  if (problem.textContent && !missing()) problem.textContent = "";
}

export function complete() {
  const question = missing();
  $("#problem").textContent = question ? lacking(question) : "";
  if (question) focusMissing();
  return !question;
}

export function askSkip(open_) {
  const form = $("#skip");
  if (!form) return;
  form.hidden = !open_;
  if (open_) $("input[name=skip_reason]", form).focus();
  else $("#reading").focus({ preventScroll: true });
}
