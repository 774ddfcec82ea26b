// Reading aids. Which of them are on stands in the classes of #main, which outlives every item; what an aid needs of
// an item is fetched when it is first wanted. All of it works on any region that `arrive` is called for.
import { copy } from "./clipboard.js";
import { $, main, token } from "./state.js";

const REMEMBERED = ["source", "panes", "together", "broad"];  // the others are over with the item
const LONG = 520;  // pixels: an answer higher than that is folded, where folding is asked for
const isOn = (aid) => main.classList.contains(`reads-${aid}`);
const bodies = () => [...main.querySelectorAll(".answer > .body")];

// A new item is on the screen.
export function arrive() {
  for (const aid of ["diff", "fold"]) main.classList.remove(`reads-${aid}`);
  addCopyButtons();
  settle();
  if (isOn("source")) bring("source");
}

function settle() {
  for (const button of main.querySelectorAll("[data-aid]")) button.setAttribute("aria-pressed", String(isOn(button.dataset.aid)));
  // What scrolls must be reachable without a mouse; a whole answer then needs a name too.
  for (const part of main.querySelectorAll(".reading .code pre, .reading .table, .reading .asked")) {
    const scrolls = part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight + 1;
    if (scrolls) part.setAttribute("tabindex", "0"); else part.removeAttribute("tabindex");
  }
  for (const body of bodies()) {
    const pane = isOn("panes");
    if (pane) body.setAttribute("tabindex", "0"); else body.removeAttribute("tabindex");
    if (pane) body.setAttribute("role", "region"); else body.removeAttribute("role");
    if (pane) body.setAttribute("aria-label", body.dataset.label); else body.removeAttribute("aria-label");
    body.classList.remove("long");
    body.classList.toggle("long", body.scrollHeight > LONG);
  }
}

function toggle(aid) {
  const on = main.classList.toggle(`reads-${aid}`);
  if (aid === "diff" && on) main.classList.remove("reads-source");
  if (aid === "source" && on) main.classList.remove("reads-diff");
  settle();
  if (on && (aid === "source" || aid === "diff")) bring(aid);
  if (REMEMBERED.includes(aid)) remember(aid, on);
}

function remember(name, on) {
  const body = new URLSearchParams({ name, on: on ? "1" : "0", csrfmiddlewaretoken: token() });
  fetch(main.dataset.remember, { method: "POST", body, headers: { "X-CSRFToken": token() }, keepalive: true }).catch(() => {});
}

// Fetch what an aid shows of this item, once, and put each piece where it says it belongs.
async function bring(aid) {
  const region = $("#reading");
  const address = region.dataset[aid];
  if (!address) return;
  if (region.querySelector(`.${aid === "diff" ? "difference" : "source"}`)) return lead(aid);
  try {
    const response = await fetch(address, { headers: { "HX-Request": "true" } });
    if (!response.ok || response.redirected) throw new TypeError("not there");
    const pieces = document.createElement("template");
    pieces.innerHTML = await response.text();
    if (region.isConnected) place(region, pieces.content);
  } catch {
    main.classList.remove(`reads-${aid}`);
    window.say(main.querySelector(".aids").dataset.missing);
  }
  settle();
  lead(aid);
}

// Long answers may differ far below: go to the first difference, unless one is in sight.
function lead(aid) {
  const marks = isOn("diff") && aid === "diff" ? [...main.querySelectorAll(".compared del, .compared ins")] : [];
  const { top, bottom } = $("#reading").getBoundingClientRect();
  const inSight = ({ y }) => y >= Math.max(0, top) && y < Math.min(bottom, innerHeight * 0.6);
  if (marks.length && !marks.some((mark) => inSight(mark.getBoundingClientRect()))) marks[0].scrollIntoView({ block: "center" });
}

function place(region, content) {
  for (const piece of [...content.children]) {
    const side = piece.matches(".difference") && $(`.body[data-side="${piece.dataset.of}"]`, region);
    const text = $(`[data-text="${piece.dataset.of}"]`, region);
    if (side) side.prepend(piece);
    else if (text) text.after(piece);
  }
}

function addCopyButtons() {
  const words = $(".aids", main);
  if (!words) return;
  for (const code of main.querySelectorAll(".reading .code")) {
    if ($("[data-copies]", code)) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "btn small copy";
    button.dataset.copies = "";
    button.textContent = words.dataset.copy;
    code.append(button);
  }
}

// Scrolling A scrolls B by the same share of its length. What a script set is told apart from what a hand did.
const set = new WeakMap();

function scrolled(event) {
  const from = event.target;
  if (!isOn("panes") || !isOn("together") || !(from instanceof Element) || !from.matches(".answer > .body")) return;
  if (Math.abs((set.get(from) ?? -1) - from.scrollTop) < 2) return set.delete(from);
  const share = from.scrollTop / Math.max(1, from.scrollHeight - from.clientHeight);
  for (const other of bodies()) {
    if (other === from) continue;
    other.scrollTop = share * (other.scrollHeight - other.clientHeight);
    set.set(other, other.scrollTop);
  }
}

main.addEventListener("scroll", scrolled, { capture: true, passive: true });
main.addEventListener("click", (event) => {
  const aid = event.target.closest("[data-aid]");
  if (aid) toggle(aid.dataset.aid);
  const copies = event.target.closest("[data-copies]");
  if (copies) copy($("pre", copies.parentElement), copies, $(".aids", main).dataset);
  const closes = event.target.closest("[data-closes]");
  if (closes) document.getElementById(closes.dataset.closes).close();
});
main.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id !== "flagged") return;
  const done = $("[data-done]", event.detail.target);
  if (!done) return;
  window.say(done.textContent);
  const panel = $("#flag", main);
  $("form", panel).reset();
  event.detail.target.textContent = "";
  panel.close();
});
