// Ranking: a key picks an answer, another ranks it, Alt and an arrow or the pointer moves it. Nothing has a rank
// until somebody gives it one, so an order that nobody touched is never sent.
import { enterRow, goTo, here, moveRow, rows, tell } from "./rows.js";
import { $ } from "./state.js";

const field = (row) => $("select", row);
const rank = (row) => Number(field(row).value) || null;
const isWhole = (question) => rows(question).every(rank);
let drag = null;

function press(question, name) {
  const all = rows(question);
  const picked = all.find((row) => row.dataset.pick === name);
  if (picked) {
    goTo(question, picked);
    return true;
  }
  if (name === $("[data-keep]", question).dataset.rate) return keep(question);
  const given = $(`[data-key-of="${CSS.escape(name)}"]`, here(question));
  if (!given) return false;
  give(question, here(question), Number(given.value));
  return true;
}

function give(question, row, given) {
  if ("noTies" in question.dataset) for (const other of rows(question)) if (other !== row && rank(other) === given) field(other).value = field(row).value;
  field(row).value = String(given);
  tell(field(row));
  const next = rows(question).find((other) => !rank(other));
  goTo(question, next || row);
}

// They stand right as they are: those without a rank follow those that have one.
function keep(question) {
  if (isWhole(question)) return false;
  const grouped = groups(question);
  assign(question, grouped);
  return true;
}

// The answers from the best to the worst, those that share a rank together.
function groups(question) {
  const ranked = new Map();
  const rest = [];
  for (const row of rows(question)) {
    if (!rank(row)) rest.push([row]);
    else ranked.set(rank(row), [...(ranked.get(rank(row)) || []), row]);
  }
  return [...[...ranked.keys()].sort((a, b) => a - b).map((key) => ranked.get(key)), ...rest];
}

function assign(question, grouped) {
  grouped.forEach((group, index) => { for (const row of group) field(row).value = String(index + 1); });
  tell(field(grouped[0][0]));
}

// One place up or down; out of a tie first.
function lift(question, key) {
  const by = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[key];
  const row = here(question);
  if (!by || !row) return false;
  const grouped = groups(question);
  const at = grouped.findIndex((group) => group.includes(row));
  if (grouped[at].length > 1) {
    grouped[at] = grouped[at].filter((other) => other !== row);
    grouped.splice(by < 0 ? at : at + 1, 0, [row]);
  } else if (grouped[at + by]) {
    [grouped[at], grouped[at + by]] = [grouped[at + by], grouped[at]];
  }
  assign(question, grouped);
  goTo(question, row);
  return true;
}

function redraw(question) {
  const all = rows(question);
  const whole = isWhole(question);
  const list = all[0].parentElement;
  const wanted = whole && !drag ? groups(question).flat() : all;
  const focused = document.activeElement;
  if (wanted.some((row, index) => row !== all[index])) {
    list.append(...wanted);
    if (list.contains(focused)) focused.focus({ preventScroll: true });
  }
  for (const row of all) {
    const shared = all.filter((other) => rank(row) && rank(other) === rank(row)).length > 1;
    row.classList.toggle("tied", shared);
    row.classList.toggle("ranked", Boolean(rank(row)));
    row.setAttribute("aria-label", rank(row) ? row.dataset.ranked.replace("%n", rank(row)) : row.dataset.unranked);
  }
  $("[data-keep]", question).hidden = whole;
}

function open(question) {
  for (const row of rows(question)) {
    row.tabIndex = 0;
    field(row).tabIndex = -1;
  }
  $(".hint", question).hidden = false;
  $("[data-keep]", question).addEventListener("click", () => keep(question));
  const list = $(".ranks", question);
  list.addEventListener("pointerdown", (event) => grab(question, event));
  list.addEventListener("pointermove", carry);
  list.addEventListener("pointerup", () => drop(question));
  list.addEventListener("pointercancel", () => drop(question));
  list.addEventListener("focusin", (event) => goTo(question, event.target.closest(".place"), false));
}

function grab(question, event) {
  const row = event.target.closest(".place");
  if (!row || event.button || event.target.closest("select")) return;
  event.preventDefault();
  goTo(question, row);
  row.parentElement.setPointerCapture(event.pointerId);
  const neighbours = new Map(rows(question).map((one) => [one, rank(one)]));
  drag = { row, moved: false, ranks: neighbours };
}

// The answer under the pointer makes room on the side that the pointer comes from.
function carry(event) {
  if (!drag) return;
  const under = document.elementFromPoint(event.clientX, event.clientY)?.closest(".place");
  if (!under || under === drag.row || under.parentElement !== drag.row.parentElement) return;
  const isBefore = Boolean(under.compareDocumentPosition(drag.row) & Node.DOCUMENT_POSITION_FOLLOWING);
  drag.moved = true;
  drag.row.classList.add("dragged");
  if (isBefore) under.before(drag.row);
  else under.after(drag.row);
}

// Those that shared a rank go on sharing it; the one that was moved gets a rank of its own, or that of a tie it is in.
function drop(question) {
  if (!drag) return;
  const { row, moved, ranks } = drag;
  row.classList.remove("dragged");
  drag = null;
  if (!moved) return;
  const all = rows(question);
  const at = all.indexOf(row);
  const inTie = all[at - 1] && all[at + 1] && ranks.get(all[at - 1]) && ranks.get(all[at - 1]) === ranks.get(all[at + 1]);
  const grouped = [];
  let before = null;
  all.forEach((one) => {
    const joins = before && ((ranks.get(one) && ranks.get(one) === ranks.get(before) && one !== row && before !== row) || (inTie && (one === row || before === row)));
    if (joins) grouped.at(-1).push(one);
    else grouped.push([one]);
    before = one;
  });
  assign(question, grouped);
  goTo(question, row);
}

export const ranking = {
  isWhole, press, lift, redraw, open, advances: true, move: moveRow, enter: enterRow,
  isBegun: (question) => rows(question).some(rank),
  lacks: (question) => (rows(question).some(rank) ? question.dataset.lacks : question.dataset.untouched),
  focusMissing: (question) => { goTo(question, rows(question).find((row) => !rank(row))); return true; },
};
