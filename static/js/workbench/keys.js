// Keys. They stand in the markup (data-key; data-rate for the questions' own), so that a control and its key cannot
// drift apart.
import { askSkip, lift, move, press, pressElsewhere, submit } from "./answers.js";
import { names } from "./layout.js";
import { $, main } from "./state.js";

const isText = (element) => element.matches("textarea, select, input:not([type=radio]):not([type=checkbox])") || element.isContentEditable;

export function pressed(event) {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey) return;
  if (event.altKey) return !isText(event.target) && lift(event) ? event.preventDefault() : undefined;
  const dialog = $("dialog[open]");
  if (dialog) return inDialog(event, dialog);
  if (isText(event.target)) return inText(event);
  if (event.target.closest(".top")) return undefined;
  if (event.key === "Escape") return askSkip(false);
  if (event.key === "Enter" && event.target.closest("a, summary, button")) return undefined;
  const done = scrolled(event) || moved(event) || names(event).some((name) => press(name) || byKey(name, event) || pressElsewhere(name));
  // Enter on a radio would submit by itself, whatever key the user has chosen for that.
  return done || event.key === "Enter" ? event.preventDefault() : undefined;
}

function byKey(name, event) {
  const control = $(`[data-key="${CSS.escape(name)}"]`, main);
  if (!control || control.disabled) return false;
  if (control.matches("[data-action=submit]")) return submitted(control, event);
  if (control.matches("textarea")) control.focus();
  else control.click();
  if (control.matches("input")) control.focus();
  return true;
}

function submitted(control, event) {
  if (event.repeat) return true;  // a key held down submits one item, not two
  if (control.matches(".submit")) submit();
  else control.click();
  return true;
}

function inText(event) {
  if (event.key === "Escape") {
    event.preventDefault();
    askSkip(false);
    $("#reading").focus({ preventScroll: true });
  } else if (event.key === "Enter" && !event.shiftKey && event.target.matches("#answer textarea") && $('.submit[data-key="enter"]')) {
    event.preventDefault();
    if (!event.repeat) submit();
  } else if (!event.target.value && chip(event.key, event.target.form)) {
    event.preventDefault();
  }
}

// While nothing is written yet, a chip's digit chooses it.
function chip(key, form) {
  const found = form && $(`[data-chip="${CSS.escape(key)}"]`, form);
  if (found) found.click();
  return Boolean(found);
}

// The key that opens a panel closes it too; the arrows walk through a list in it.
function inDialog(event, dialog) {
  if (isText(event.target)) return undefined;
  if (chip(event.key, $("form[data-chips]", dialog))) return event.preventDefault();
  const opener = $(`[data-opens="${dialog.id}"]`, main);
  const again = opener && names(event).includes(opener.dataset.key);
  if (again) dialog.close();
  return again || walked(event, dialog) ? event.preventDefault() : undefined;
}

const STEPS = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };

function walked(event, dialog) {
  const step = STEPS[event.key];
  const stops = [...dialog.querySelectorAll("[data-walk]")];
  if (step === undefined || !stops.length) return false;
  const place = stops.indexOf(document.activeElement);
  stops[Math.max(0, Math.min(stops.length - 1, place + step))].focus();
  return true;
}

function scrolled(event) {
  const region = scroller(event);
  const page_ = region.clientHeight * 0.85;
  const inReading = region.contains(event.target);
  const asked = names(event);
  const { keyDown, keyUp } = $("#reading").dataset;
  let by = inReading ? undefined : { PageDown: page_, PageUp: -page_ }[event.key];
  if (asked.includes(keyDown)) by = 90;
  if (asked.includes(keyUp)) by = -90;
  if (by === undefined) return false;
  (region.scrollHeight > region.clientHeight ? region : window).scrollBy({ top: by });
  return true;
}

// What scrolls: the answer that has the focus where each scrolls on its own, else A; the whole region otherwise.
function scroller(event) {
  const panes = main.classList.contains("reads-panes") && [...main.querySelectorAll(".answer > .body")];
  const own = panes && panes.filter((pane) => pane.scrollHeight > pane.clientHeight);
  if (!own || !own.length) return $("#reading");
  return own.find((pane) => pane.contains(event.target)) || own[0];
}

function moved(event) {
  if (!event.target.closest(".asks") || !["ArrowUp", "ArrowDown"].includes(event.key)) return false;
  move(event.key === "ArrowDown" ? 1 : -1);
  return true;
}
