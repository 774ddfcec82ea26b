// What the workbench's scripts share: the item on the screen, how to find things on it, and what is said about it.
export const $ = (selector, root = document) => root.querySelector(selector);
export const main = $("#main");
export const bench = { page: null };  // the item on the screen; null while there is none

export const WORDS = {
  saving: "saving…", now: "saved just now", seconds: (n) => `saved ${n} s ago`, minutes: (n) => `saved ${n} min ago`,
  unsaved: "not saved, trying again", signedOut: "You are signed out. Sign in in another tab, then go on here: nothing is lost.",
  lost: "Your time with this item ran out and somebody else has it now. Finish it if you like: it is kept, but may not count.",
  missing: (title) => `“${title}” still needs an answer.`,
  nothing: "The network is away. Your answer stays here; press Enter to send it again.",
};

// Signing in again gives a new token; the cookie always has the one that is valid.
export function token() {
  const found = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  return found ? decodeURIComponent(found[1]) : $("[name=csrfmiddlewaretoken]").value;
}
