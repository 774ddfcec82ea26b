// The preview of questions: their controls work as they do on the workbench, and nothing is sent.
import { filled, mark, open } from "./answers.js";
import { $, bench, main } from "./state.js";

function begin() {
  const form = $("#answer", main);
  bench.page = form && { form, chosen: {} };
  if (form) open(form);
}

main.addEventListener("input", (event) => { if (bench.page && bench.page.form.contains(event.target)) filled(event.target); });
main.addEventListener("focusin", (event) => {
  const question = event.target.closest("[data-question]");
  if (question) mark(question);
});
main.addEventListener("submit", (event) => { if (bench.page && event.target === bench.page.form) event.preventDefault(); });
main.addEventListener("htmx:afterSwap", begin);
begin();
