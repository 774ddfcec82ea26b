// Pictures, larger: a click on one, or Enter on its button, opens it in a dialog with + − 0. Works for whatever comes
// onto the page later, since it listens at the document.
const dialog = document.getElementById("zoom");
const stage = dialog.querySelector(".stage");
const STEP = 1.25, LEAST = 0.05, MOST = 8;
let picture = null, natural = [1, 1], scale = 1, opener = null;

const fit = () => Math.min(1, stage.clientWidth / natural[0], stage.clientHeight / natural[1]);

// The middle of what is in sight stays there.
function resize(to) {
  const x = (stage.scrollLeft + stage.clientWidth / 2) / stage.scrollWidth;
  const y = (stage.scrollTop + stage.clientHeight / 2) / stage.scrollHeight;
  scale = Math.min(MOST, Math.max(LEAST, to));
  [picture.width, picture.height] = natural.map((side) => Math.max(1, Math.floor(side * scale)));
  stage.scrollTo(x * stage.scrollWidth - stage.clientWidth / 2, y * stage.scrollHeight - stage.clientHeight / 2);
  dialog.querySelector("output").textContent = `${Math.round(scale * 100)}%`;
}

const by = (steps) => resize(steps ? scale * STEP ** steps : fit());

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-zoom]");
  if (!button) return;
  const small = button.querySelector("img");
  opener = button;
  natural = [Number(button.dataset.width), Number(button.dataset.height)];
  picture = new Image();
  picture.alt = small.alt;
  picture.src = button.dataset.zoom;
  stage.replaceChildren(picture);
  dialog.showModal();
  by(0);
});
dialog.addEventListener("click", (event) => {
  const steps = event.target.closest("[data-zoom-by]");
  if (steps) by(Number(steps.dataset.zoomBy));
});
dialog.addEventListener("keydown", (event) => {
  const steps = { "+": 1, "=": 1, "-": -1, "−": -1, 0: 0 }[event.key];
  if (steps === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  by(steps);
});
dialog.addEventListener("close", () => {
  if (opener && opener.isConnected) opener.focus({ preventScroll: true });
});
