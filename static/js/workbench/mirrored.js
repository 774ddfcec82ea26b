// From right to left the left arrow means the next choice: browsers take it for the one before, as from left to right.
document.addEventListener("keydown", (event) => {
  if (document.documentElement.dir !== "rtl" || event.ctrlKey || event.metaKey || event.altKey) return;
  const by = { ArrowLeft: 1, ArrowRight: -1 }[event.key];
  if (!by || !event.target.matches("input[type=radio]")) return;
  const { form, name } = event.target;
  const group = [...form.querySelectorAll(`input[type=radio][name="${CSS.escape(name)}"]`)];
  const next = group[(group.indexOf(event.target) + by + group.length) % group.length];
  next.focus();
  next.click();
  event.preventDefault();
});
