// Tables that sort and filter, the runs behind a row, the search. Pages read without it; the leaderboard's own is board.js.
"use strict";

const text = (row, i) => row.cells[i].textContent.trim();
// the number that a cell begins with, undefined where it has none
function value(row, i) {
  if (row.cells[i].classList.contains("text")) return undefined;
  const v = parseFloat(text(row, i));
  return Number.isNaN(v) ? undefined : v;
}

// what has no value stands last, whichever way the rest is sorted
function compare(a, b, i, sign) {
  const [x, y] = [value(a, i), value(b, i)];
  if (x !== undefined && y !== undefined) return sign * (x - y);
  if (x !== undefined || y !== undefined) return x === undefined ? 1 : -1;
  const [s, t] = [text(a, i), text(b, i)];
  if (!s !== !t) return s ? -1 : 1;
  return sign * s.localeCompare(t, "en", { numeric: true });
}

function sort(table, i, descending) {
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((a, b) => compare(a, b, i, descending ? -1 : 1));
  body.append(...rows);
  [...table.tHead.rows[0].cells].forEach((head, j) => {
    if (j === i) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
}

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    if ("fixed" in head.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(table, i, head.getAttribute("aria-sort") === "ascending"));
  });
}

function field(name, control) {
  const label = document.createElement("label");
  label.append(name + " ", control);
  return label;
}

function select(values, chosen) {
  const control = document.createElement("select");
  for (const [label, key] of values) control.add(new Option(label, key, key === chosen, key === chosen));
  return control;
}

function filterable(table, tools) {
  const heads = [...table.tHead.rows[0].cells], chosen = new Map();
  const count = document.createElement("output");
  const apply = () => {
    let left = 0;
    for (const row of table.tBodies[0].rows) {
      const fits = [...chosen].every(([i, v]) => v === "*" || text(row, i) === v);
      row.hidden = !fits;
      left += !row.hidden;
    }
    count.textContent = `${left} of ${table.tBodies[0].rows.length} rows`;
  };
  heads.forEach((head, i) => {
    const name = head.textContent.trim();
    if (!("choice" in head.dataset)) return;
    const values = [...new Set([...table.tBodies[0].rows].map((row) => text(row, i)))];
    values.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    if (values.length < 2) return;
    const control = select([["all", "*"], ...values.map((v) => [v || "none", v])], "*");
    control.addEventListener("change", () => { chosen.set(i, control.value); apply(); });
    tools.append(field(name, control));
  });
  tools.append(count);
  tools.hidden = tools.children.length < 2;
  apply();
}

// the same words as unlearnkit.report.show writes
function number(v) {
  if (Number.isInteger(v)) return String(v);
  return Math.abs(v) >= 0.01 && Math.abs(v) < 100 ? v.toFixed(2) : String(Number(v.toPrecision(3)));
}

function interval(mean, low, high) {
  const size = Math.max(Math.abs(low), Math.abs(high));
  const whole = [mean, low, high].every(Number.isInteger) && Math.abs(high) > 1;
  const digits = whole || size >= 1000 ? 0 : size > 0 && size < 0.1 ? 3 : 2;
  return `${mean.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
}

// --- the runs behind a row: #row=17 ---

function make(tag, words = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = words;
  for (const [name, v] of Object.entries(attributes)) element.setAttribute(name, v);
  return element;
}

function facts(pairs, kind = "facts") {
  const list = make("dl", "", { class: kind });
  for (const [name, v] of pairs) list.append(make("dt", name), make("dd", v));
  return list;
}

// the first numbers of each seed: they may come from several of its runs
function bySeed(data, runs) {
  const seeds = new Map();
  for (const run of runs) {
    const values = data.scores[run] ? data.scores[run].split(",") : [], known = seeds.get(data.seeds[run]) || [];
    data.measures.forEach((_, i) => { if (known[i] === undefined && values[i]) known[i] = Number(values[i]); });
    seeds.set(data.seeds[run], known);
  }
  return new Map([...seeds].sort((a, b) => a[0] - b[0]).filter(([, known]) => known.length));
}

function seedTable(data, seeds) {
  const table = make("table", "", { class: "data" }), head = table.createTHead().insertRow(), body = table.createTBody();
  for (const name of ["metric", "reference", "group"]) head.append(make("th", name, { scope: "col" }));
  for (const seed of seeds.keys()) head.append(make("th", `seed ${seed}`, { scope: "col", class: "number" }));
  data.measures.forEach((measure, i) => {
    const values = [...seeds.values()].map((known) => known[i]);
    if (values.every((v) => v === undefined)) return;
    const row = body.insertRow();
    for (const word of measure) row.append(make("td", word));
    for (const v of values) row.append(make("td", v === undefined ? "" : number(v), { class: "number" }));
  });
  const box = make("div", "", { class: "box tall", tabindex: "0", role: "region", "aria-label": "Scores of single runs" });
  box.append(table);
  return box;
}

function runDetails(data, run) {
  const key = make("code", data.keys[run]), known = data.known[data.runs[run]];
  if (!known) { const line = make("p", "", { class: "keys" }); line.append(key); return line; }
  const words = (list) => list.map((i) => data.words[i]).map((w) => [w.slice(0, w.indexOf(" ")), w.slice(w.indexOf(" ") + 1)]);
  const [kind, made, params, parents] = known, details = make("details"), summary = make("summary");
  summary.append(key, ` ${kind}`);
  details.append(summary, facts(words(params)));
  for (const [parent, i] of parents) {
    details.append(make("p", `from ${data.known[i][0]} ${parent}`, { class: "parent" }), facts(words(data.known[i][2]), "facts small"));
  }
  details.append(make("p", data.made[made], { class: "parent" }));
  return details;
}

function showRow(panel, data) {
  const match = /^#row=(\d+)$/.exec(decodeURIComponent(location.hash)), row = match && document.getElementById(`row=${match[1]}`);
  for (const other of document.querySelectorAll("tr.chosen")) other.classList.remove("chosen");
  panel.hidden = !row;
  if (!row) return;
  row.classList.add("chosen");
  const heads = [...row.closest("table").tHead.rows[0].cells].map((head) => head.textContent.trim());
  const [command, runs, single] = data.rows[match[1] - 1], seeds = single ? bySeed(data, runs) : new Map();
  const cells = heads.map((name, i) => [name, text(row, i)]).filter(([name, v]) => v && name !== "runs");
  const all = make("details"), close = make("a", "close", { href: "#main" });
  all.append(make("summary", `the row: ${cells.length} columns`), facts(cells));
  const title = make("h2", `Runs behind row ${match[1]}: ${text(row, 0)} `, { tabindex: "-1" });
  title.append(close);
  panel.replaceChildren(title, all,
    make("p", "In an empty cache, with the same parameters, compared number by number; add seed=0 for a single run:"));
  const line = make("pre", "", { class: "command", tabindex: "0" });
  line.append(make("code", command));
  panel.append(line);
  if (seeds.size) panel.append(make("h3", "Run by run"), seedTable(data, seeds));
  panel.append(make("h3", runs.length === 1 ? "1 run" : `${runs.length} runs`));
  if (!data.known.length) {
    panel.append(make("p", "The cache that held these runs is not here. What the manifest knows of them stands below the table.", { class: "note" }));
  }
  for (const run of runs) panel.append(runDetails(data, run));
  title.focus({ preventScroll: true });
  panel.scrollIntoView({ block: "start" });
}

// --- search: all pages stand on the page, and those without the words are hidden ---

function search(list) {
  const input = document.querySelector("form.search input"), entries = [...list.children];
  const apply = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const entry of entries) {
      const said = entry.textContent.toLowerCase();
      entry.hidden = !words.every((word) => said.includes(word));
      left += !entry.hidden;
    }
    const name = (entry) => entry.querySelector("a").textContent.toLowerCase();
    const place = (entry) => (words.length && name(entry) === words.join(" ") ? 0 : words.every((w) => name(entry).includes(w)) ? 1 : 2);
    list.append(...[...entries].sort((a, b) => place(a) - place(b)));
    document.querySelector("[data-count]").textContent = `${left} of ${entries.length} pages`;
  };
  input.value = new URLSearchParams(location.search).get("q") || "";
  input.addEventListener("input", apply);
  apply();
}

for (const table of document.querySelectorAll("table[data-sort]")) {
  const own = Object.assign(document.createElement("form"), { className: "tools", hidden: true });
  table.closest(".box").before(own);
  own.addEventListener("submit", (event) => event.preventDefault());
  if ("filter" in table.dataset) filterable(table, own);
  sortable(table);
}
const panel = document.querySelector("[data-runs]"), found = document.querySelector("[data-found]");
if (panel && window.ROWS) {
  window.addEventListener("hashchange", () => showRow(panel, window.ROWS));
  showRow(panel, window.ROWS);
  window.addEventListener("load", () => setTimeout(() => panel.hidden || panel.scrollIntoView({ block: "start" })));  // after the browser's own jump to the row
}
if (found) search(found);
