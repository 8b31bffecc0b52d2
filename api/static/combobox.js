// A text field that finds a port or a region by name (WAI-ARIA Authoring Practices, "Combobox").
"use strict";

const MAX_SHOWN = 60;
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

// `places` are {key, name, kind, within}; `chosen` is called with the key, or null while the text matches none.
function combobox(input, places, chosen) {
  const list = document.getElementById(input.getAttribute("aria-controls"));
  const byKey = new Map(places.map((place) => [place.key, place]));
  for (const place of places) {
    place.found = [plain(place.name), plain(place.key), plain(place.within)];
  }
  let shown = [];
  let active = -1;

  function matches(text) {
    const wanted = plain(text.trim());
    if (!wanted) return places.slice(0, MAX_SHOWN);
    const rank = ({ found: [name, key, within] }) =>
      key === wanted || name === wanted ? 0
        : name.startsWith(wanted) || key.startsWith(wanted) ? 1
          : name.includes(` ${wanted}`) ? 2
            : name.includes(wanted) || key.includes(wanted) ? 3
              : within.includes(wanted) ? 4 : 9;
    return places.map((place) => [rank(place), place]).filter(([at]) => at < 9)
      .sort(([a], [b]) => a - b).slice(0, MAX_SHOWN).map(([, place]) => place);
  }

  function show(text) {
    shown = matches(text);
    list.replaceChildren(...shown.map(option));
    if (!shown.length) {
      const none = document.createElement("li");
      none.className = "none";
      none.textContent = "No port or region is called that.";
      list.append(none);
    }
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    activate(text.trim() && shown.length ? 0 : -1);
  }

  function option(place, index) {
    const item = document.createElement("li");
    item.id = `${list.id}-${index}`;
    item.setAttribute("role", "option");
    const name = document.createElement("span");
    name.textContent = place.name;
    const about = document.createElement("small");
    const key = document.createElement("b");
    key.textContent = place.key;
    about.append(`${place.within} `, key);
    item.append(name, about);
    item.addEventListener("mousedown", (event) => event.preventDefault());
    item.addEventListener("click", () => choose(place));
    return item;
  }

  function activate(index) {
    active = index;
    [...list.querySelectorAll("[role=option]")].forEach((item, at) => item.setAttribute("aria-selected", at === index));
    const item = document.getElementById(`${list.id}-${index}`);
    if (item) item.scrollIntoView({ block: "nearest" });
    if (item) input.setAttribute("aria-activedescendant", item.id);
    else input.removeAttribute("aria-activedescendant");
  }

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  }

  function set(place) {
    input.value = place ? place.name : "";
    input.dataset.key = place ? place.key : "";
  }

  function choose(place) {
    set(place);
    close();
    chosen(place.key);
  }

  // A typed text counts as a choice if only one location matches it.
  function settle() {
    close();
    const current = byKey.get(input.dataset.key);
    if (current && current.name === input.value) return;
    const text = plain(input.value.trim());
    const exact = text && places.filter(({ found: [name, key] }) => key === text || name === text);
    if (exact && exact.length === 1) return choose(exact[0]);
    input.dataset.key = "";
    chosen(null);
  }

  input.addEventListener("input", () => show(input.value));
  input.addEventListener("focus", () => input.select());
  input.addEventListener("click", () => { if (list.hidden) show(""); });
  input.addEventListener("blur", settle);
  input.addEventListener("keydown", (event) => {
    const open = !list.hidden;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (!open) show("");
      else if (shown.length) activate((active + step + shown.length) % shown.length);
    } else if (event.key === "Enter" && open) {
      event.preventDefault();
      if (shown[active]) choose(shown[active]);
      else settle();
    } else if (event.key === "Escape" && open) {
      event.preventDefault();
      set(byKey.get(input.dataset.key));
      close();
    }
  });

  return {
    // Shows the location of a key; an unknown key is shown unchanged.
    set(key) {
      if (byKey.has(key)) return set(byKey.get(key));
      input.value = key;
      input.dataset.key = "";
    },
    name: (key) => (byKey.get(key) || { name: key }).name,
  };
}
