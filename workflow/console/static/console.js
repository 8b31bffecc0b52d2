// Polls while something may change: fetches the same page and replaces <main> with the new one.
"use strict";
async function poll() {
  const main = document.querySelector("main");
  if (!main.dataset.again) return;
  const busy = document.hidden || main.querySelector("[data-keep]:focus-within, details[open]");
  if (!busy) {
    try {
      const answer = await fetch(location.href, { credentials: "same-origin" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      if (answer.redirected && new URL(answer.url).pathname !== location.pathname) { location.replace(answer.url); return; }
      if (answer.ok && fresh) replace(main, fresh, page.title);
    } catch { /* the stack is restarting: poll again later */ }
  }
  if (main.dataset.again) setTimeout(poll, 1000 * Number(main.dataset.again));
}
function replace(main, fresh, title) {
  if (fresh.innerHTML === main.innerHTML && fresh.dataset.again === main.dataset.again) return;
  const places = [...main.querySelectorAll(".picture, .wide")].map((part) => [part.scrollLeft, part.scrollTop]);
  const focus = [...main.querySelectorAll("a, button, [tabindex]")].indexOf(document.activeElement);
  main.replaceChildren(...fresh.childNodes);
  if (fresh.dataset.again) main.dataset.again = fresh.dataset.again; else delete main.dataset.again;
  [...main.querySelectorAll(".picture, .wide")].forEach((part, i) => places[i] && part.scrollTo(...places[i]));
  show();
  if (focus >= 0) [...main.querySelectorAll("a, button, [tabindex]")][focus]?.focus({ preventScroll: true });
  document.title = title;
}
document.addEventListener("dragover", (event) => { if (document.getElementById("file")) event.preventDefault(); });
document.addEventListener("drop", (event) => {
  const input = document.getElementById("file");
  if (!input || !event.dataTransfer.files.length) return;
  event.preventDefault();
  input.files = event.dataTransfer.files;
});
// The graph is larger than a screen: scroll to the current state, until the user scrolls.
let touched = false;
for (const kind of ["wheel", "pointerdown", "keydown"]) {
  document.addEventListener(kind, (event) => { touched ||= Boolean(event.target.closest?.(".picture")); }, { passive: true });
}
function show(otherwise) {
  const picture = document.querySelector(".picture");
  const state = picture?.querySelector(".running, .bad, .rejected, .ended") ?? (otherwise && picture?.querySelector(otherwise));
  if (!state || touched) return;
  const [outer, inner] = [picture.getBoundingClientRect(), state.getBoundingClientRect()];
  picture.scrollLeft += inner.left + inner.width / 2 - outer.left - outer.width / 2;
  picture.scrollTop += inner.top - outer.top - Math.min(outer.height / 2, 300);
}
show("g");
setTimeout(poll, 1000 * Number(document.querySelector("main").dataset.again || 0));
