// Copying the words of an element; `said` = { copy, copied } is what the button says before and after.
export async function copy(text, button, said) {
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = said.copied;
  } catch {
    getSelection().selectAllChildren(text);  // without the right to copy: the words are marked
  }
  setTimeout(() => { button.textContent = said.copy; }, 2000);
}
