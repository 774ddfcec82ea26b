// Spans: words marked in an answer, with the mouse or word by word from the keyboard, then a tag. The field has one
// line a passage, `A [tag] 12-40`: offsets in the source text, in characters. The server says how the text on the
// page lies on its source (data-runs: where here, where there, how many alike).
import { tell } from "./rows.js";
import { $ } from "./state.js";

const LINE = /^([A-Z]) \[([^\]]+)\] (\d+)-(\d+)$/;
const FAR = 10;  // words that the arrows up and down move by
const count = (text) => [...text].length;
const field = (question) => $("textarea", question);
const lines = (question) => field(question).value.split("\n").filter((line) => line.trim());
let held = null;     // what was selected when a tag's button was touched: the touch itself takes the selection away
let marking = null;  // while words are marked by keyboard: the question, the text's element, its words, from where to where

// --- Texts: the page's and the source's ---

function texts(question) {
  return [...question.querySelectorAll("[data-text]")].map((data, index) => {
    const runs = data.dataset.runs.split(",").filter(Boolean).map((run) => run.split(" ").map(Number));
    const article = document.querySelectorAll("#reading .answer")[index];
    const source = Number(data.dataset.source);
    const prose = article && [...article.querySelectorAll(".prose")].at(-1);
    const written = prose && sourceInSight(prose);
    if (written && count(plain(written)) === source) return { letter: data.dataset.text, source, runs: [[0, 0, source]], element: written };
    const shown = prose && count(plain(prose));
    if (shown === Number(data.dataset.length)) return { letter: data.dataset.text, source, runs, element: prose };
    // The text as it was written is the source itself; where it is shown in yet another way, nothing can be marked.
    return { letter: data.dataset.text, source, runs: [[0, 0, source]], element: shown === source ? prose : null };
  });
}

// While the text is read as it was written, that is what is marked.
function sourceInSight(prose) {
  const next = prose.nextElementSibling;
  return next && next.matches(".source") && next.checkVisibility() ? next : null;
}

// As annotate/questions/aligning.py has it.
function toSource({ runs, source }, start, end) {
  const inside = runs.filter(([at, , size]) => at < end && at + size > start);
  if (inside.length) {
    const [first, firstThere] = inside[0];
    const [end_, endThere, size] = inside.at(-1);
    return [firstThere + Math.max(0, start - first), endThere + Math.min(size, end - end_)];
  }
  const last = runs.filter(([at, , size]) => at + size <= start).at(-1);
  const next = runs.find(([at]) => at >= end);
  return [last ? last[1] + last[2] : 0, next ? next[1] : source];
}

function toPage({ runs }, start, end) {
  const inside = runs.filter(([, there, size]) => there < end && there + size > start);
  if (!inside.length) return null;
  const [first, firstThere] = inside[0];
  const [last, lastThere, size] = inside.at(-1);
  return [first + Math.max(0, start - firstThere), last + Math.min(size, end - lastThere)];
}

// The pieces of text of an element, without those of buttons that the page put there.
function pieces(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const found = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) if (!node.parentElement.closest("button")) found.push(node);
  return found;
}

const plain = (element) => pieces(element).map((node) => node.data).join("");

// How many characters of the element stand before this place of the page.
function before(element, container, offset) {
  const range = document.createRange();
  range.setStart(container, offset);
  let passed = 0;
  for (const node of pieces(element)) {
    if (node === container) return passed + count(node.data.slice(0, offset));
    if (range.comparePoint(node, 0) >= 0) return passed;
    passed += count(node.data);
  }
  return passed;
}

// The range of the page from one character of an element to another.
function rangeIn(element, start, end) {
  const range = document.createRange();
  let passed = 0;
  let begun = false;
  for (const node of pieces(element)) {
    const size = count(node.data);
    const unit = (wanted) => [...node.data].slice(0, wanted - passed).join("").length;
    if (!begun && passed + size > start) {
      range.setStart(node, unit(start));
      begun = true;
    }
    if (begun && passed + size >= end) {
      range.setEnd(node, unit(end));
      return range;
    }
    passed += size;
  }
  return null;
}

// --- Marking ---

// What is selected in one of the answers, without the white space around it.
function selected(question) {
  const selection = window.getSelection();
  if (!selection.rangeCount || selection.isCollapsed) return null;
  const range = selection.getRangeAt(0);
  const text = texts(question).find(({ element }) => element && element.contains(range.startContainer));
  if (!text) return null;
  const all = [...plain(text.element)];
  const from = before(text.element, range.startContainer, range.startOffset);
  const to = text.element.contains(range.endContainer) ? before(text.element, range.endContainer, range.endOffset) : all.length;
  const words = all.slice(from, to).join("");
  const start = from + count(words) - count(words.trimStart());
  return words.trim() ? { text, start, end: start + count(words.trim()) } : null;
}

function add(question, tag) {
  const found = selected(question) || held;
  held = null;
  if (!found) {
    window.say(question.dataset.unmarked);
    return true;
  }
  const [start, end] = toSource(found.text, found.start, found.end);
  const line = `${found.text.letter} [${tag}] ${start}-${end}`;
  if (!lines(question).includes(line)) field(question).value = [...lines(question), line].join("\n");
  window.getSelection().removeAllRanges();
  stop();
  tell(field(question));
  return true;
}

function press(question, name) {
  const button = $(`[data-rate="${CSS.escape(name)}"]`, question);
  if (!button) return false;
  held = null;
  button.click();
  return true;
}

function start(question, place = 0) {
  const all = texts(question);
  const { element } = all[place] || {};
  if (!element) return;
  const text = plain(element);
  const words = [...text.matchAll(/\S+/gu)].map((word) => {
    const at = count(text.slice(0, word.index));
    return [at, at + count(word[0])];
  });
  if (!words.length) return;
  marking = { question, place, letters: all.map((text) => text.letter.toLowerCase()), element, words, from: 0, to: 0 };
  element.closest(".answer").classList.add("marking");
  question.classList.add("marking");
  showMarked();
}

function stop() {
  if (!marking) return;
  marking.element.closest(".answer").classList.remove("marking");
  marking.question.classList.remove("marking");
  marking = null;
}

function showMarked() {
  const { element, words, from, to } = marking;
  const range = rangeIn(element, words[Math.min(from, to)][0], words[Math.max(from, to)][1]);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  const end = rangeIn(element, ...words[to]).startContainer.parentElement;
  end.scrollIntoView({ block: "nearest" });
}

// While marking, the arrows are ours: on by a word, with Shift as far as here; a letter changes the answer.
function markedBy(event) {
  if (!marking) return;
  if (!document.contains(marking.element)) return stop();
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const rightToLeft = getComputedStyle(marking.element).direction === "rtl" ? -1 : 1;
  const by = { ArrowRight: rightToLeft, ArrowLeft: -rightToLeft, ArrowDown: FAR, ArrowUp: -FAR }[event.key];
  const letter = marking.letters.indexOf(event.key.toLowerCase());
  if (by) step(by, event.shiftKey);
  else if (event.key === "Escape") {
    stop();
    window.getSelection().removeAllRanges();
  } else if (letter >= 0) {
    const { question } = marking;
    stop();
    start(question, letter);
  } else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}

function step(by, extend) {
  marking.to = Math.max(0, Math.min(marking.words.length - 1, marking.to + by));
  if (!extend) marking.from = marking.to;
  showMarked();
}

// --- What is marked ---

function redraw(question) {
  const all = texts(question);
  const list = $(".passages", question);
  const ranges = [];
  list.replaceChildren(...lines(question).map((line) => {
    const [, letter, tag, from, to] = LINE.exec(line) || [];
    const text = all.find((one) => one.letter === letter);
    const at = text && text.element && toPage(text, Number(from), Number(to));
    const range = at && rangeIn(text.element, ...at);
    if (range) ranges.push(range);
    return entry(question, line, range ? { letter, tag, words: [...plain(text.element)].slice(...at).join("") } : null);
  }));
  if (window.Highlight) CSS.highlights.set("passages", new Highlight(...ranges));
}

function entry(question, line, said) {
  const row = document.createElement("li");
  const letter = document.createElement("span");
  const tag = document.createElement("span");
  const words = document.createElement("q");
  const remove = document.createElement("button");
  letter.className = "letter";
  letter.textContent = said ? said.letter : "";
  tag.className = "badge";
  tag.textContent = said ? said.tag : "";
  words.dir = "auto";
  words.textContent = said ? said.words : line;
  remove.type = "button";
  remove.className = "btn small quiet";
  remove.textContent = "×";
  remove.setAttribute("aria-label", `${$(".passages", question).dataset.remove}: ${words.textContent}`);
  remove.addEventListener("click", () => {
    field(question).value = lines(question).filter((other) => other !== line).join("\n");
    tell(field(question));
    ($(".passages button", question) || question).focus();
  });
  row.append(letter, tag, words, remove);
  return row;
}

function open(question) {
  for (const part of question.querySelectorAll(".tags, .passages, .hint")) part.hidden = false;
  question.tabIndex = -1;
  $(".written", question).classList.add("unseen");
  field(question).tabIndex = -1;
  $(".written", question).setAttribute("aria-hidden", "true");
  for (const button of question.querySelectorAll("[data-tag]")) button.addEventListener("click", () => add(question, button.dataset.tag));
  for (const button of question.querySelectorAll("[data-tag]")) button.addEventListener("pointerdown", () => { held = selected(question); });
  for (const button of question.querySelectorAll("button")) button.addEventListener("mousedown", (event) => event.preventDefault());  // the selection stays
  $("[data-mark]", question).addEventListener("click", () => (marking ? stop() : start(question)));
}

document.addEventListener("keydown", markedBy, { capture: true });

export const span = {
  isWhole: (question) => lines(question).length > 0, press, open, redraw,
  // The whole question has the focus, not a tag's button: so Enter sends, and does not press the button.
  focusMissing: (question) => { question.focus(); return true; },
  enter: (question) => { question.focus({ preventScroll: true }); return true; },
};
