// The keys of the review page: the answers' own keys, and those that stand in the markup as data-key.
const $ = (selector, root = document) => root.querySelector(selector);
const form = $("#verdict");
const isText = (element) => element.matches("textarea, select, input:not([type=radio]):not([type=checkbox])");
let current = 0;  // the question that the answer keys mean

const asks = () => [...form.querySelectorAll(".ask")].filter((ask) => !ask.hidden);

function pressed(event) {
  if (event.defaultPrevented || event.isComposing || event.altKey || $("dialog[open]")) return;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return submit(event);
  if (event.ctrlKey || event.metaKey) return;
  if (isText(event.target)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "Enter" && !event.target.closest("a, button, summary")) return submit(event);
  const key = event.key.toLowerCase();
  if (key === "[" || key === "]") return step(key === "]" ? 1 : -1, event);
  const control = $(`[data-key="${CSS.escape(key)}"]`) || answer(key);
  if (!control) return;
  event.preventDefault();
  if (control.matches("textarea")) control.focus();
  else control.click();
}

function answer(key) {
  const all = asks();
  const ordered = [...all.slice(current), ...all.slice(0, current)];
  return ordered.map((ask) => $(`[data-rate="${CSS.escape(key)}"]`, ask)).find(Boolean);
}

function step(by, event) {
  event.preventDefault();
  const all = asks();
  current = (current + by + all.length) % all.length;
  const input = $("input:checked, input, textarea, select", all[current]);
  if (input) input.focus();
}

function submit(event) {
  event.preventDefault();
  if (!event.repeat) form.requestSubmit($("[data-submit]", form));
}

if (form) document.addEventListener("keydown", pressed);
