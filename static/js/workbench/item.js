// The item on the screen: what is known of it, the time spent on it, and the signs of life that keep its lease.
import { focusMissing, open } from "./answers.js";
import { DEBOUNCE, later, restore, save, showSaved } from "./drafts.js";
import { arrive } from "./reading.js";
import { $, bench } from "./state.js";

const IDLE = 60;       // seconds without a sign of life after which time is no longer counted
const HEARTBEAT = 60;  // seconds after which a page in use tells the server that it still holds its item

// `said` is announced before what the item itself has to say: “Kept.”
export function begin(said = "") {
  stop();
  const form = $("#answer");
  bench.page = form && {
    form, assignment: form.dataset.assignment, again: "again" in form.dataset,
    seconds: Number(form.dataset.seconds) || 0, number: 0, dirty: false, sending: false, submitting: false,
    savedAt: null, state: "", timer: null, active: Date.now(), told: Date.now(), chosen: {},
  };
  restore();  // before the controls are read: what stands in them is what they show
  if (form) open(form);
  arrive();
  const region = $("#reading");
  const problem = $("#problem");
  if (problem && problem.textContent) focusMissing();
  else ($("#start") || region).focus({ preventScroll: true });
  region.scrollTop = 0;
  window.scrollTo(0, 0);
  if (region.dataset.announce) $("#announcer").textContent = [said, region.dataset.announce.trim()].filter(Boolean).join(" ");
  showSaved();
}

function stop() {
  if (bench.page) clearTimeout(bench.page.timer);
  bench.page = null;
}

export function alive() {
  if (bench.page) bench.page.active = Date.now();
}

export function tick() {
  if (!bench.page) return showSaved();
  const now = Date.now();
  if (document.visibilityState === "visible" && now - bench.page.active < IDLE * 1000) bench.page.seconds += 1;
  const inUse = bench.page.active > bench.page.told;
  if (inUse && !bench.page.dirty && now - bench.page.told > HEARTBEAT * 1000) save();
  showSaved();
}

// What was asked for did not come: the item is still here, and its draft is saved again.
export function release() {
  if (bench.page && bench.page.dirty) later(DEBOUNCE);
}
