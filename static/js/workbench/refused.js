// Answers that the server will never take (their item is gone, or their owner may no longer label it): shown as soon
// as that is known and whenever the page opens, to be copied or discarded.
import { copy } from "./clipboard.js";
import { $, bench, main } from "./state.js";
import { dropAnswer, refusedAnswers } from "./store.js";

const OURS = new Set(["key", "guideline_version", "rubric_version", "number", "ahead", "seconds"]);
const dialog = $("#refused");

export function offerRefused() {
  const kept = refusedAnswers();
  $("#refused-answers").replaceChildren(...kept.map(shown));
  if (kept.length && !dialog.open) dialog.showModal();
  if (!kept.length && dialog.open) dialog.close();
}

function shown(entry) {
  const part = $("template", dialog).content.cloneNode(true);
  const when = new Date(entry.at).toLocaleString(document.documentElement.lang);
  $("h3", part).textContent = [entry.title, when].filter(Boolean).join(" · ");
  const text = $("pre", part);
  text.textContent = words(entry.body);
  const button = $("[data-keeps-words]", part);
  button.addEventListener("click", () => copy(text, button, button.dataset));
  $("[data-discards]", part).addEventListener("click", () => { dropAnswer(entry); offerRefused(); });
  return part;
}

// One line for each thing that was given, by the name of its question.
function words(body) {
  const given = [...new URLSearchParams(body)].filter(([name, value]) => value && !OURS.has(name));
  return given.map(([name, value]) => `${name.replace(/^answer-/, "")}: ${value}`).join("\n");
}

// Where the page has nothing to go on with, it says what it is now.
dialog.addEventListener("close", () => { if (bench.away) location.assign(main.dataset.home); });
