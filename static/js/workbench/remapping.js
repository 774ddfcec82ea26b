// The page of keys: in a field, the key that is pressed is the key that is meant.
import { names } from "./layout.js";

const LEAVES = ["Tab", "Escape", "Shift", "Control", "Alt", "Meta", "AltGraph", "CapsLock"];

document.addEventListener("keydown", (event) => {
  const field = event.target.closest("[data-press]");
  if (!field || event.isComposing || event.ctrlKey || event.metaKey || event.altKey || LEAVES.includes(event.key)) return;
  event.preventDefault();
  const name = names(event).find((said) => said === "enter" || /^[!-~]$/.test(said));
  if (!name || event.repeat) return;
  field.value = name;
  field.form.requestSubmit();
});
document.addEventListener("focusin", (event) => { if (event.target.matches("[data-press]")) event.target.select(); });
