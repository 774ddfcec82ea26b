// What every page needs: a word when a request fails, dialogs that ask first, menus that close, scrolling by keyboard.
// The words stand in the page (templates/base.html), where they are translated.
document.addEventListener("htmx:responseError", (event) => {
  say(document.getElementById("toast").dataset.failed.replace("{status}", event.detail.xhr.status));
});
document.addEventListener("htmx:sendError", () => say(document.getElementById("toast").dataset.unreachable));

function say(text) {
  const toast = document.getElementById("toast");
  toast.textContent = text;
  toast.classList.add("shown");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => toast.classList.remove("shown"), 6000);
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.confirm;
  if (question && !window.confirm(question)) event.preventDefault();
});

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (!menu.contains(event.target)) menu.removeAttribute("open");
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) menu.removeAttribute("open");
});

// A poll whose page nobody sees rests; it goes on with its next turn once the page is seen again.
document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && event.target.hasAttribute("data-rests-unseen")) event.preventDefault();
});

// What is wider or higher than its place scrolls, so the keyboard must reach it; the workbench sees to its own.
function reach() {
  for (const part of document.querySelectorAll(".scroll, .tall, .log, .table, pre")) {
    if (part.closest("#reading")) continue;
    const scrolls = part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight;
    if (scrolls && !part.hasAttribute("tabindex")) part.setAttribute("tabindex", "0");
  }
}
document.addEventListener("DOMContentLoaded", reach);
document.addEventListener("htmx:afterSettle", reach);
window.addEventListener("resize", reach);
