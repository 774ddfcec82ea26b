// The workbench: keys, drafts, active time, focus. The server keeps everything; this script only hurries it along.
// Keys stand in the markup (data-key, data-rate), so that a control and its key cannot drift apart.
(() => {
  "use strict";
  const IDLE = 60;         // seconds without a sign of life after which time is no longer counted
  const HEARTBEAT = 60;    // seconds after which a page in use tells the server that it still holds its item
  const DEBOUNCE = 400;    // milliseconds from a change to the saving of the draft
  const RETRY = 5000;      // milliseconds until a draft that could not be saved is sent again
  const WORDS = {
    saving: "saving…", now: "saved just now", seconds: (n) => `saved ${n} s ago`, minutes: (n) => `saved ${n} min ago`,
    unsaved: "not saved, trying again", signedOut: "You are signed out. Sign in in another tab, then go on here: nothing is lost.",
    lost: "Your time with this item ran out and somebody else has it now. Finish it if you like: it is kept, but may not count.",
    missing: (title) => `“${title}” still needs an answer.`,
    nothing: "The network is away. Your answer stays here; press Enter to send it again.",
  };
  const $ = (selector, root = document) => root.querySelector(selector);
  const main = $("#main");
  let page = null;         // the item on the screen; null while there is none

  // --- One item on the screen ---------------------------------------------------------------------------------

  function begin() {
    stop();
    const form = $("#answer");
    page = form && {
      form, seconds: Number(form.dataset.seconds) || 0, number: 0, dirty: false, sending: false, submitting: false,
      savedAt: null, state: "", timer: null, active: Date.now(), told: Date.now(), chosen: chosenIn(form),
    };
    if (form) mark($(".criterion", form));
    const region = $("#reading");
    const problem = $("#problem");
    if (problem && problem.textContent) focusMissing();
    else ($("#start") || region).focus({ preventScroll: true });
    region.scrollTop = 0;
    window.scrollTo(0, 0);
    if (region.dataset.announce) $("#announcer").textContent = region.dataset.announce.trim();
    showSaved();
  }

  function stop() {
    if (page) clearTimeout(page.timer);
    page = null;
  }

  function chosenIn(form) {
    const chosen = {};
    for (const input of form.querySelectorAll("input[type=radio]:checked")) chosen[input.name] = input.value;
    return chosen;
  }

  // --- Drafts -------------------------------------------------------------------------------------------------

  function changed() {
    if (!page) return;
    page.dirty = true;
    later(DEBOUNCE);
    const problem = $("#problem");
    if (problem.textContent && !missing()) problem.textContent = "";
  }

  function later(wait) {
    clearTimeout(page.timer);
    page.timer = setTimeout(save, wait);
  }

  async function save() {
    const here = page;
    if (!here || here.submitting || here.sending) return;
    here.dirty = false;
    here.sending = true;
    here.told = Date.now();
    setState("saving");
    try {
      const response = await fetch(here.form.dataset.draft, draftRequest(here));
      if (here !== page) return;
      if (response.redirected || response.status === 403) warn(here, WORDS.signedOut);
      if (response.redirected || !response.ok) throw new TypeError("not saved");
      heard(here, await response.json());
    } catch {
      if (here !== page) return;
      here.sending = false;
      here.dirty = true;
      setState("unsaved");
      later(RETRY);
      return;
    }
    here.sending = false;
    if (here.dirty) later(DEBOUNCE);
  }

  // Said once for each item, however often it happens.
  function warn(here, words) {
    if (here.warned !== words) window.say(words);
    here.warned = words;
  }

  function draftRequest(here) {
    const body = new URLSearchParams(new FormData(here.form));
    here.number += 1;
    body.set("csrfmiddlewaretoken", token());
    body.set("number", here.number);
    body.set("seconds", here.seconds.toFixed(1));
    return { method: "POST", body, headers: { "X-CSRFToken": token() }, keepalive: body.toString().length < 60000 };
  }

  function heard(here, answer) {
    here.savedAt = Date.now();
    setState("saved");
    if (!answer.held) warn(here, WORDS.lost);
  }

  function saveBeforeLeaving() {
    if (!page || !page.dirty) return;
    page.dirty = false;
    clearTimeout(page.timer);
    fetch(page.form.dataset.draft, draftRequest(page)).catch(() => {});
  }

  // Signing in again gives a new token; the cookie always has the one that is valid.
  function token() {
    const found = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
    return found ? decodeURIComponent(found[1]) : $("[name=csrfmiddlewaretoken]").value;
  }

  function setState(state) {
    if (page) page.state = state;
    showSaved();
  }

  function showSaved() {
    const place = $("#saved");
    if (!place) return;
    const seconds = page && page.savedAt ? Math.round((Date.now() - page.savedAt) / 1000) : null;
    let words = "";
    if (page && page.state === "saving") words = WORDS.saving;
    else if (page && page.state === "unsaved") words = WORDS.unsaved;
    else if (seconds !== null) words = seconds < 2 ? WORDS.now : seconds < 60 ? WORDS.seconds(seconds) : WORDS.minutes(Math.floor(seconds / 60));
    place.textContent = words;
    place.classList.toggle("warn", Boolean(page) && page.state === "unsaved");
  }

  // --- Time and the lease -------------------------------------------------------------------------------------

  function alive() {
    if (page) page.active = Date.now();
  }

  function tick() {
    if (!page) return;
    const now = Date.now();
    if (document.visibilityState === "visible" && now - page.active < IDLE * 1000) page.seconds += 1;
    const inUse = page.active > page.told;
    if (inUse && !page.dirty && now - page.told > HEARTBEAT * 1000) save();
    showSaved();
  }

  // --- Answers ------------------------------------------------------------------------------------------------

  // A second press on an optional rating takes it back; radio groups of the browser know no such thing.
  function toggled(input) {
    const optional = input.closest("fieldset[data-optional]");
    if (optional && page.chosen[input.name] === input.value) {
      input.checked = false;
      delete page.chosen[input.name];
      changed();
    } else {
      page.chosen[input.name] = input.value;
    }
  }

  function mark(criterion) {
    for (const other of main.querySelectorAll(".criterion.current")) other.classList.remove("current");
    if (criterion) criterion.classList.add("current");
    explain(criterion);
  }

  // What the ratings of this criterion mean; of the current one where there is none.
  function explain(criterion) {
    const shown = criterion || $(".criterion.current", main);
    for (const text of main.querySelectorAll("[data-of]")) text.classList.toggle("shown", Boolean(shown) && text.dataset.of === shown.dataset.name);
  }

  // Once both answers are rated, the next criterion that lacks a rating is the one that the letters mean.
  function rate(letter) {
    const criterion = $(".criterion.current", main);
    const input = criterion && $(`[data-rate="${letter}"]`, criterion);
    if (!input) return false;
    const wasWhole = isWhole(criterion);
    input.click();
    input.focus();
    if (!wasWhole && isWhole(criterion)) {
      const next = [...main.querySelectorAll(".criterion")].find((other) => !isWhole(other));
      if (next) mark(next);
    }
    return true;
  }

  function isWhole(criterion) {
    return [...criterion.querySelectorAll("fieldset")].every((group) => $(":checked", group));
  }

  function move(step) {
    const all = [...main.querySelectorAll(".criterion")];
    const next = all[all.indexOf($(".criterion.current", main)) + step];
    if (!next) return;
    mark(next);
    ($(":checked", next) || $("input", next)).focus();
  }

  function missing() {
    return [...main.querySelectorAll("fieldset[data-required]")].find((group) => !$(":checked", group));
  }

  function focusMissing() {
    const group = missing();
    const target = group ? $("input", group) : $("#problem");
    if (group && group.closest(".criterion")) mark(group.closest(".criterion"));
    target.focus();
  }

  function submit() {
    if (page && !page.submitting) page.form.requestSubmit($(".submit", page.form));
  }

  function complete() {
    const group = missing();
    $("#problem").textContent = group ? WORDS.missing(group.dataset.title) : "";
    if (group) focusMissing();
    return !group;
  }

  function askSkip(open) {
    const form = $("#skip");
    if (!form) return;
    form.hidden = !open;
    if (open) $("input[name=skip_reason]", form).focus();
    else $("#reading").focus({ preventScroll: true });
  }

  // --- Keys ---------------------------------------------------------------------------------------------------

  const isText = (element) => element.matches("textarea, select, input:not([type=radio]):not([type=checkbox])") || element.isContentEditable;

  function pressed(event) {
    if (event.defaultPrevented || event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const dialog = $("dialog[open]");
    if (dialog) return inDialog(event, dialog);
    if (isText(event.target)) return inText(event);
    if (event.target.closest(".top")) return undefined;
    if (event.key === "Enter") return onEnter(event);
    if (event.key === "Escape") return askSkip(false);
    if (scrolled(event) || moved(event)) return event.preventDefault();
    const done = names(event).some((name) => byKey(name) || (page && rate(name)));
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

  // --- Listeners ----------------------------------------------------------------------------------------------

  document.addEventListener("keydown", pressed);
  for (const kind of ["keydown", "pointerdown", "pointermove", "wheel", "touchstart", "scroll"]) {
    document.addEventListener(kind, alive, { passive: true, capture: true });
  }
  main.addEventListener("input", (event) => { if (page && page.form.contains(event.target)) changed(); });
  main.addEventListener("click", (event) => {
    if (event.target.matches("input[type=radio]")) toggled(event.target);
    if (event.target.closest("[data-skip]")) askSkip(true);
    if (event.target.closest("[data-unskip]")) askSkip(false);
    const opener = event.target.closest("[data-opens]");
    if (opener) document.getElementById(opener.dataset.opens).showModal();
  });
  main.addEventListener("focusin", (event) => {
    const criterion = event.target.closest(".criterion");
    if (criterion) mark(criterion);
  });
  main.addEventListener("pointerover", (event) => explain(event.target.closest(".criterion")));
  window.addEventListener("pagehide", saveBeforeLeaving);
  document.addEventListener("visibilitychange", () => { if (document.visibilityState === "hidden") saveBeforeLeaving(); });

  document.body.addEventListener("htmx:configRequest", (event) => {
    event.detail.headers["x-csrftoken"] = token();
    if (event.detail.verb === "post") event.detail.parameters.csrfmiddlewaretoken = token();
  });
  main.addEventListener("htmx:beforeRequest", (event) => {
    if (!page || event.target !== page.form) return;
    if (!complete()) return event.preventDefault();
    page.submitting = true;
    clearTimeout(page.timer);
  });
  main.addEventListener("htmx:configRequest", (event) => {
    if (page && event.target === page.form) event.detail.parameters.seconds = page.seconds.toFixed(1);
  });
  main.addEventListener("htmx:beforeSwap", (event) => {
    if (!new URL(event.detail.xhr.responseURL).pathname.includes("/label/")) {
      event.detail.shouldSwap = false;  // the sign-in page does not belong here
      window.say(WORDS.signedOut);
      release();
    }
  });
  main.addEventListener("htmx:sendError", (event) => {
    release();
    event.stopPropagation();
    window.say(WORDS.nothing);
  });
  main.addEventListener("htmx:responseError", (event) => {
    release();
    if (event.detail.xhr.status !== 403) return;
    event.stopPropagation();  // what 403 means here is said better than by the frame
    window.say(WORDS.signedOut);
  });
  main.addEventListener("htmx:beforeRequest", (event) => {
    // Whatever takes the item off the screen: what is not saved yet goes first.
    if (event.detail.target === main && page && event.target !== page.form) saveBeforeLeaving();
  });
  main.addEventListener("htmx:afterSwap", (event) => {
    // Not when it settles: by then a quick hand is typing already, and moving the focus would scatter its words.
    if (event.detail.target === main) begin();
  });
  main.addEventListener("htmx:afterSettle", (event) => {
    if (event.detail.target !== main && $("#start") && !$("dialog[open]")) $("#start").focus();
  });
  document.body.addEventListener("workbench:say", (event) => window.say(event.detail.value));

  function release() {
    if (!page) return;
    page.submitting = false;
    if (page.dirty) later(DEBOUNCE);
  }

  setInterval(tick, 1000);
  begin();
})();
