// Critique: reasons by digit, words by c, and how many characters there are of how many.
import { enterRow, goTo, here, moveRow, rows } from "./rows.js";
import { $ } from "./state.js";

const text = (row) => $("textarea", row);
const length = (row) => [...text(row).value.trim()].length;
const isSaid = (question, row) => {
  const least = Number(question.dataset.least);
  return length(row) >= least && (length(row) > 0 || Boolean($(":checked", row)));
};
const isBegun = (question) => rows(question).some((row) => length(row) > 0 || $(":checked", row));

function isWhole(question) {
  const begun = (row) => length(row) > 0 || $(":checked", row);
  const all = rows(question);
  return "required" in question.dataset ? all.every((row) => isSaid(question, row)) : isBegun(question) && all.filter(begun).every((row) => isSaid(question, row));
}

function press(question, name) {
  const control = $(`[data-rate="${CSS.escape(name)}"]`, here(question));
  if (!control) return false;
  if (control.matches("input")) control.click();
  control.focus();
  return true;
}

function redraw(question) {
  for (const row of rows(question)) {
    const counter = $(".counter", row);
    if (counter) counter.textContent = counter.dataset.words.replace("%n", length(row)).replace("%m", question.dataset.least);
    if (counter) counter.classList.toggle("good", length(row) >= Number(question.dataset.least));
  }
}

function open(question) {
  for (const row of rows(question)) row.tabIndex = -1;
  question.addEventListener("focusin", (event) => {
    const row = event.target.closest(".place");
    if (row) goTo(question, row, false);
  });
}

export const critique = {
  isWhole, isBegun, press, redraw, open, move: moveRow, enter: enterRow,
  lacks: (question) => (Number(question.dataset.least) ? question.dataset.short : question.dataset.lacks),
  focusMissing: (question) => {
    const row = rows(question).find((one) => !isSaid(question, one)) || rows(question)[0];
    goTo(question, row, false);
    text(row).focus();
    return true;
  },
};
