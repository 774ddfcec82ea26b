// Keys. They stand in the markup (data-key, data-rate), so that a control and its key cannot drift apart.
import { askSkip, move, rate, submit } from "./answers.js";
import { $, bench, main } from "./state.js";

const isText = (element) => element.matches("textarea, select, input:not([type=radio]):not([type=checkbox])") || element.isContentEditable;

export function pressed(event) {
  if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
  const dialog = $("dialog[open]");
  if (dialog) return inDialog(event, dialog);
  if (isText(event.target)) return inText(event);
  if (event.target.closest(".top")) return undefined;
  if (event.key === "Enter") return onEnter(event);
  if (event.key === "Escape") return askSkip(false);
  if (scrolled(event) || moved(event)) return event.preventDefault();
  const done = names(event).some((name) => byKey(name) || (bench.page && rate(name)));
  return done ? event.preventDefault() : undefined;
}

// What the key says, then where it is: so the letters work on every layout, and digits where they need Shift.
function names(event) {
  const place = /^(?:Key|Digit)(.)$/.exec(event.code);
  return [event.key.toLowerCase(), ...(place && !/^[a-z0-9?]$/i.test(event.key) ? [place[1].toLowerCase()] : [])];
}

function byKey(name) {
  const control = $(`[data-key="${CSS.escape(name)}"]`, main);
  if (!control || control.disabled) return false;
  if (control.matches("textarea")) control.focus();
  else control.click();
  if (control.matches("input")) control.focus();
  return true;
}

function onEnter(event) {
  if (event.target.closest("a, summary, button")) return;
  const start = $("#start");
  event.preventDefault();
  if (event.repeat) return;  // a key held down submits one item, not two
  if (start) start.click();
  else submit();
}

function inText(event) {
  if (event.key === "Escape") {
    event.preventDefault();
    askSkip(false);
    $("#reading").focus({ preventScroll: true });
  } else if (event.key === "Enter" && !event.shiftKey && event.target.name === "reason") {
    event.preventDefault();
    if (!event.repeat) submit();
  }
}

function inDialog(event, dialog) {
  if ((dialog.id === "guidelines" && event.key === "g") || (dialog.id === "keys" && event.key === "?")) {
    event.preventDefault();
    dialog.close();
  }
}

function scrolled(event) {
  const region = $("#reading");
  const page_ = region.clientHeight * 0.85;
  const inReading = region.contains(event.target);
  const by = { j: 90, k: -90, ...(inReading ? {} : { PageDown: page_, PageUp: -page_ }) }[event.key];
  if (by === undefined) return false;
  (region.scrollHeight > region.clientHeight ? region : window).scrollBy({ top: by });
  return true;
}

function moved(event) {
  if (!event.target.closest(".rubric") || !["ArrowUp", "ArrowDown"].includes(event.key)) return false;
  move(event.key === "ArrowDown" ? 1 : -1);
  return true;
}
