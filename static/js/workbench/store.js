// What this browser keeps until the server has it: drafts and answers, under the name of the user who gave them.
import { main } from "./state.js";

const PREFIX = `plumbline:${main.dataset.user}:`;
const FORGET = 30 * 24 * 3600 * 1000;  // milliseconds after which a draft that nobody came back to is forgotten
const memory = new Map();              // where the browser allows no storage: at least until the page is closed

function write(name, value) {
  try {
    localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    memory.set(PREFIX + name, JSON.stringify(value));
  }
}

function read(name) {
  const text = memory.get(PREFIX + name) ?? localStorage.getItem(PREFIX + name);
  return text ? JSON.parse(text) : null;
}

function drop(name) {
  memory.delete(PREFIX + name);
  localStorage.removeItem(PREFIX + name);
}

function names(start) {
  const all = [...Object.keys(localStorage), ...memory.keys()];
  return all.filter((name) => name.startsWith(PREFIX + start)).map((name) => name.slice(PREFIX.length));
}

// Drafts: what is filled in and not yet on the server, by assignment.
export const keepDraft = (assignment, body) => write(`draft:${assignment}`, { body, at: Date.now() });
export const draftOf = (assignment) => read(`draft:${assignment}`);
export const dropDraft = (assignment) => drop(`draft:${assignment}`);

// Answers on their way, the oldest first. The same answer is one entry however often it is kept.
const nameOf = (entry) => `answer:${entry.assignment}:${entry.key}`;
export const keepAnswer = (entry) => write(nameOf(entry), entry);
export const dropAnswer = (entry) => drop(nameOf(entry));
const allAnswers = () => names("answer:").map(read).filter(Boolean).sort((a, b) => a.at - b.at);
export const answers = () => allAnswers().filter((entry) => !entry.refused);
export const refusedAnswers = () => allAnswers().filter((entry) => entry.refused);

export function forgetOld() {
  for (const name of names("draft:")) if (Date.now() - read(name).at > FORGET) drop(name);
}
