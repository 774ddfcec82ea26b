// Questions with rows of their own: answers to rank, critiques, steps. One row is the one that the keys mean.
import { $ } from "./state.js";

export const rows = (question) => [...question.querySelectorAll(".place")];
export const here = (question) => $(".place.here", question) || rows(question)[0];

export function goTo(question, row, focus = true) {
  for (const other of rows(question)) other.classList.toggle("here", other === row);
  if (focus && row) row.focus({ preventScroll: true });
  if (row) row.scrollIntoView({ block: "nearest" });
}

// One row up or down; false where there is none, so that the next question has its turn.
export function moveRow(question, by) {
  const all = rows(question);
  const next = all[all.indexOf(here(question)) + by];
  if (!next) return false;
  goTo(question, next);
  return true;
}

export function enterRow(question, by) {
  const all = rows(question);
  if (!all.length) return false;
  goTo(question, by < 0 ? all.at(-1) : all[0]);
  return true;
}

// As if it had been filled in by hand: the draft is saved, and what depends on it is drawn.
export function tell(field) {
  field.dispatchEvent(new Event("input", { bubbles: true }));
}
