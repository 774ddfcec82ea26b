// What the workbench's scripts share: the item on the screen, how to find things on it, and what is said about it.
export const $ = (selector, root = document) => root.querySelector(selector);
export const main = $("#main");
// The item on the screen, the one fetched ahead ({ assignment, html }), both null while there is none; whether the
// page waits for the network; and when the server last kept the leases alive (milliseconds).
export const bench = { page: null, ahead: null, away: false, heard: Date.now() };

// The words stand in the page (templates/annotate/_words.html), where they are translated.
const said = $("#words").dataset;
const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
// Languages have up to six forms for a number of things; which one a number takes, the browser knows.
const plural = new Intl.PluralRules(document.documentElement.lang);
const counted = (forms, n) => filled(forms[plural.select(n)] || forms.other, { n });

export const WORDS = {
  saving: said.saving, now: said.now, unsaved: said.unsaved, signedOut: said.signedOut, lost: said.lost,
  nothing: said.nothing, kept: said.kept, skipped: said.skipped, somebodyElse: said.somebodyElse,
  seconds: (n) => filled(said.seconds, { n }),
  minutes: (n) => filled(said.minutes, { n }),
  missing: (title) => filled(said.missing, { title }),
  waiting: (n) => counted(JSON.parse(said.waiting), n),
};

// Signing in again gives a new token; the cookie always has the one that is valid.
export function token() {
  const found = document.cookie.match(/(?:^|; )csrftoken=([^;]+)/);
  return found ? decodeURIComponent(found[1]) : $("[name=csrfmiddlewaretoken]").value;
}

// The headers of everything the page sends by itself: whose it is, so that nothing goes out in another's name.
export function headers() {
  return { "HX-Request": "true", "X-CSRFToken": token(), "X-Plumbline-User": main.dataset.user };
}
