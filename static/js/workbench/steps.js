// Steps: 1, 2, 3 call the step good, neutral or bad and go on to the next; e says that here is the first error.
import { enterRow, goTo, here, moveRow, rows, tell } from "./rows.js";
import { $ } from "./state.js";

const sections = (question) => [...question.querySelectorAll(".steps")].filter((section) => $(".place", section));
const lackingSection = (question) => sections(question).find((section) => !$(":checked", section));

function press(question, name) {
  const row = here(question);
  if (!row) return false;
  if (name === $("[data-first-error]", question).dataset.rate) return firstError(question, row);
  const input = $(`[data-rate="${CSS.escape(name)}"]`, row);
  if (!input) return false;
  input.click();
  if (!input.checked || !moveRow(question, 1)) goTo(question, row);
  return true;
}

// All before it are good, this one is bad, and what follows from it is not judged.
function firstError(question, row) {
  const all = [...row.closest(".steps").querySelectorAll(".place")];
  const at = all.indexOf(row);
  all.forEach((step, index) => {
    for (const input of step.querySelectorAll("input")) input.checked = index <= at && input.value === (index < at ? "good" : "bad");
  });
  tell($("input", row));
  const next = rows(question)[rows(question).indexOf(all.at(-1)) + 1];
  goTo(question, next || row);
  return true;
}

function open(question) {
  $(".hint", question).hidden = false;
  $("[data-first-error]", question).addEventListener("click", () => { if (here(question)) firstError(question, here(question)); });
  question.addEventListener("focusin", (event) => {
    const row = event.target.closest(".place");
    if (row) goTo(question, row, false);
  });
}

export const step = {
  isWhole: (question) => !lackingSection(question), press, open, move: moveRow, enter: enterRow,
  lacks: (question) => lackingSection(question).dataset.lacks,
  focusMissing: (question) => { goTo(question, $(".place", lackingSection(question))); return true; },
};
