// Requests /rates for the form, shows the result, and keeps the address of the page as a link to it.
"use strict";

const NAMES = ["orig_code", "dest_code", "date_from", "date_to"];
const MAX_DAYS = 3660;
const DAY = 86400000;
const at = (id) => document.getElementById(id);
const iso = (time) => new Date(time).toISOString().slice(0, 10);
const boxes = {};
const wanted = {};
let pending = null; // the running request
let shown = null; // {rates, chart}: oldest day first
let reading = null;

start();

async function start() {
  let places;
  try {
    places = await allPlaces();
  } catch (problem) {
    return fail(problem);
  }
  for (const name of ["orig_code", "dest_code"]) {
    boxes[name] = combobox(at(name), places, (key) => {
      if (key === (wanted[name] ?? null)) return;
      wanted[name] = key;
      show();
    });
  }
  for (const name of ["date_from", "date_to"]) {
    at(name).addEventListener("change", () => {
      wanted[name] = at(name).value;
      show();
    });
  }
  at("query").addEventListener("submit", (event) => {
    event.preventDefault();
    document.activeElement.blur();
    show();
  });
  at("swap").addEventListener("click", () => {
    [wanted.orig_code, wanted.dest_code] = [wanted.dest_code, wanted.orig_code];
    fill();
    show();
  });
  document.querySelectorAll("[data-days]").forEach((button) => button.addEventListener("click", () => lengthen(button.dataset.days)));
  at("copy-curl").addEventListener("click", () => copy(at("curl").textContent, "The request is copied."));
  at("copy-link").addEventListener("click", () => copy(location.href, "The link is copied."));
  at("download").addEventListener("click", download);
  at("charts").addEventListener("keydown", move);
  at("table").addEventListener("toggle", table);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("popstate", () => { fromAddress(places); show(false); });
  const given = fromAddress(places);
  await show(false, !given);
}

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { headers: { Accept: "application/json" }, ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw { detail: "The service cannot be reached. Check your network connection." };
  }
  if (!response.ok) throw await response.json().catch(() => ({ detail: `The service responded with status ${response.status}.` }));
  return response;
}

// Regions in the order of the tree, each followed by its contents; then the ports by name.
async function allPlaces() {
  const [{ ports }, { regions }] = await Promise.all(["/ports", "/regions"].map(async (path) => (await ask(path)).json()));
  const names = new Map();
  const found = [];
  const walk = (region, above) => {
    names.set(region.slug, region.name);
    found.push({ key: region.slug, name: region.name, kind: "region", within: above || "region" });
    region.regions.forEach((each) => walk(each, region.name));
  };
  regions.forEach((region) => walk(region, ""));
  ports.sort((a, b) => a.name.localeCompare(b.name));
  return found.concat(ports.map((port) => ({ key: port.code, name: port.name, kind: "port", within: names.get(port.parent_slug) || "" })));
}

// Fills the form from the address of the page; returns whether it had parameters.
function fromAddress(places) {
  const given = new URLSearchParams(location.search);
  const regions = places.filter((place) => place.kind === "region").map((place) => place.key);
  const first = (...keys) => keys.find((key) => regions.includes(key)) || (places[0] || {}).key || "";
  const today = Date.now();
  const defaults = {
    orig_code: first("china_main"), dest_code: first("north_europe_main", regions[1]),
    date_from: iso(today - 91 * DAY), date_to: iso(today),
  };
  NAMES.forEach((name) => { wanted[name] = given.get(name) ?? defaults[name]; });
  fill();
  return NAMES.some((name) => given.has(name));
}

function fill() {
  boxes.orig_code.set(wanted.orig_code ?? "");
  boxes.dest_code.set(wanted.dest_code ?? "");
  at("date_from").value = wanted.date_from;
  at("date_to").value = wanted.date_to;
}

const query = () => `/rates?${new URLSearchParams(["date_from", "date_to", "orig_code", "dest_code"].map((name) => [name, wanted[name] ?? ""]))}`;

// Shows the rates; with `seek`, moves to days with prices if the range has none.
async function show(remember = true, seek = false) {
  if (pending) pending.abort();
  const ours = (pending = new AbortController());
  clearErrors();
  for (const name of ["orig_code", "dest_code"]) {
    if (wanted[name] === null) wrong(name, at(name).value ? `No port or region is called “${at(name).value}”.` : "Choose a port or a region.");
  }
  if (wanted.orig_code === null || wanted.dest_code === null) return blank();
  const address = `/?${new URLSearchParams(NAMES.map((name) => [name, wanted[name]]))}`;
  if (remember && address !== location.pathname + location.search) history.pushState(null, "", address);
  // In unbreakable pieces: lines break between parameters, not within a date.
  const pieces = `curl '${location.origin}${query()}'`.split(/(?<=[&?])/);
  at("curl").firstChild.replaceChildren(...pieces.map((piece) => element("span", piece)));
  at("result").setAttribute("aria-busy", "true");
  try {
    const { rates } = await (await ask(query(), { signal: ours.signal })).json();
    rates.reverse();
    if (rates.some((rate) => rate.count)) present(rates);
    else await nothing(rates, ours.signal, seek);
    at("result").setAttribute("aria-busy", "false");
  } catch (problem) {
    if (problem.name !== "AbortError") fail(problem);
  }
}

function present(rates) {
  const averages = rates.filter((rate) => rate.price !== null);
  const total = rates.reduce((sum, rate) => sum + (rate.count ?? 0), 0);
  const extreme = (sign) => averages.reduce((best, rate) => (sign * rate.price > sign * best.price ? rate : best), averages[0]);
  const figures = [["Prices", whole.format(total), `on ${whole.format(rates.filter((rate) => rate.count).length)} of ${whole.format(rates.length)} days`]];
  if (averages.length) {
    const figure = (name, rate) => [name, dollars.format(rate.price), rate.day];
    figures.unshift(figure("Latest average", averages[averages.length - 1]), figure("Lowest", extreme(-1)), figure("Highest", extreme(1)));
  }
  at("figures").replaceChildren(...figures.map(([name, value, about]) => {
    const group = document.createElement("div");
    group.append(element("dt", name), element("dd", value, " ", element("small", about)));
    return group;
  }));
  at("title").textContent = `${boxes.orig_code.name(wanted.orig_code)} to ${boxes.dest_code.name(wanted.dest_code)}: average price per day`;
  document.title = `${boxes.orig_code.name(wanted.orig_code)} to ${boxes.dest_code.name(wanted.dest_code)} · ratesflow`;
  at("status").replaceChildren(averages.length ? "" : "No day in this range has three prices, so there is no average; their counts are below.");
  at("result").classList.remove("empty");
  if (shown && shown.chart) shown.chart.destroy();
  shown = { rates, chart: null };
  draw();
  table();
}

async function nothing(rates, signal, seek) {
  const wide = `/rates?${new URLSearchParams({ date_from: widest(), date_to: latest(), orig_code: wanted.orig_code, dest_code: wanted.dest_code })}`;
  const all = (await (await ask(wide, { signal })).json()).rates.filter((rate) => rate.count);
  blank();
  at("title").textContent = `${boxes.orig_code.name(wanted.orig_code)} to ${boxes.dest_code.name(wanted.dest_code)}`;
  if (!all.length) return at("status").replaceChildren("There are no prices between these locations in ten years.");
  const [last, first] = [all[0].day, all[all.length - 1].day];
  const from = iso(Math.max(Date.parse(first), Date.parse(last) - 91 * DAY));
  const go = () => { Object.assign(wanted, { date_from: from, date_to: last }); fill(); return show(!seek); };
  if (seek) return go();
  const button = element("button", `Show ${from} to ${last}`);
  button.type = "button";
  button.addEventListener("click", go);
  at("status").replaceChildren(`No prices in this range; there are some from ${first} to ${last}.`, button);
}

// Ten years around the requested range, up to today if they include it.
const latest = () => iso(Math.min(Date.parse("9999-12-31"), Math.max(Date.now(), Date.parse(wanted.date_to)) ));
const widest = () => iso(Math.max(Date.parse("0001-01-01"), Date.parse(latest()) - (MAX_DAYS - 1) * DAY));

function draw() {
  if (!shown) return;
  if (shown.chart) shown.chart.destroy();
  reading = null;
  shown.chart = drawRates(at("price-chart"), at("count-chart"), shown.rates, read);
  read(null);
}

function read(index) {
  reading = index;
  if (index === null || !shown.rates[index]) {
    at("reading").textContent = "Average price in US dollars; below it the number of prices.";
    return;
  }
  const { day, price, count } = shown.rates[index];
  const prices = count === 1 ? "1 price" : `${whole.format(count ?? 0)} prices`;
  at("reading").textContent = `${dayName.format(Date.parse(day))}: ${price === null ? "no average" : dollars.format(price)}, ${prices}`;
}

function move(event) {
  const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: -7, PageDown: 7, Home: -Infinity, End: Infinity }[event.key];
  if (!step || !shown) return;
  event.preventDefault();
  const last = shown.rates.length - 1;
  const from = reading ?? (step < 0 ? last + 1 : -1);
  shown.chart.point(Math.min(last, Math.max(0, from + step)));
}

function table() {
  const host = at("table").querySelector(".scroll");
  host.replaceChildren();
  if (!at("table").open || !shown) return;
  const rows = [...shown.rates].reverse().map(({ day, price, count }) => {
    const cells = [element("td", day), element("td", price === null ? "" : dollars.format(price)), element("td", count === null ? "" : whole.format(count))];
    cells.slice(1).forEach((cell) => { cell.className = "number"; });
    return element("tr", ...cells);
  });
  const heads = ["Day", "Average", "Prices"].map((name, index) => { const head = element("th", name); if (index) head.className = "number"; return head; });
  host.append(element("table", element("thead", element("tr", ...heads)), element("tbody", ...rows)));
}

function lengthen(days) {
  if (days === "all") Object.assign(wanted, { date_from: widest(), date_to: latest() });
  else wanted.date_from = iso(Math.max(Date.parse("0001-01-01"), Date.parse(wanted.date_to) - (days - 1) * DAY));
  fill();
  show();
}

function fail(problem) {
  const errors = problem.errors || [];
  errors.forEach(({ parameter, detail }) => at(parameter) && wrong(parameter, detail));
  at("status").className = "wrong";
  at("status").textContent = errors.length ? "Check the fields above." : problem.detail;
  blank();
  at("result").setAttribute("aria-busy", "false");
}

// Removes results that do not belong to the form.
function blank() {
  at("title").textContent = "Average price per day";
  at("figures").replaceChildren();
  at("result").classList.add("empty");
}

function wrong(name, text) {
  at(name).setAttribute("aria-invalid", "true");
  at(`${name}-error`).textContent = text;
}

function clearErrors() {
  at("status").className = "";
  at("status").replaceChildren();
  for (const name of NAMES) {
    at(name).removeAttribute("aria-invalid");
    at(`${name}-error`).textContent = "";
  }
}

async function copy(text, done) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without HTTPS the clipboard API is not available.
    const field = element("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  at("copied").textContent = done;
}

async function download() {
  try {
    const blob = await (await ask(query(), { headers: { Accept: "text/csv" } })).blob();
    const link = element("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${wanted.orig_code}-${wanted.dest_code}-${wanted.date_from}-${wanted.date_to}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    at("copied").textContent = `${link.download} is downloaded.`;
  } catch (problem) {
    fail(problem);
  }
}

function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}
