// Tables that sort and filter, and the leaderboard's choice of metric. Pages read without it.
"use strict";

const text = (row, i) => row.cells[i].textContent.trim();
const value = (row, i) => row.cells[i].dataset.v;

// what has no value stands last, whichever way the rest is sorted
function compare(a, b, i, sign) {
  const [x, y] = [value(a, i), value(b, i)];
  if (x !== undefined && y !== undefined) return sign * (Number(x) - Number(y));
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
  let words = "", at = -1;
  const apply = () => {
    let left = 0;
    for (const row of table.tBodies[0].rows) {
      const fits = [...chosen].every(([i, v]) => v === "*" || text(row, i) === v);
      row.hidden = !fits || row.dataset.none === "1" || (at >= 0 && !text(row, at).toLowerCase().includes(words));
      left += !row.hidden;
    }
    if ("collapse" in table.dataset) {  // a column that is chosen says the same in every row
      for (const row of table.rows) for (const [i, v] of chosen) row.cells[i].hidden = v !== "*";
    }
    count.textContent = `${left} of ${table.tBodies[0].rows.length} rows`;
  };
  heads.forEach((head, i) => {
    const name = head.textContent.trim();
    if ("search" in head.dataset) {
      const input = document.createElement("input");
      input.type = "search";
      at = i;
      input.addEventListener("input", () => { words = input.value.trim().toLowerCase(); apply(); });
      tools.append(field(name, input));
    }
    if (!("choice" in head.dataset)) return;
    const values = [...new Set([...table.tBodies[0].rows].map((row) => text(row, i)))];
    values.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    if (values.length < 2) return;
    const start = values.includes(head.dataset.start) ? head.dataset.start : "*";
    const control = select([["all", "*"], ...values.map((v) => [v || "none", v])], start);
    chosen.set(i, start);
    control.addEventListener("change", () => { chosen.set(i, control.value); apply(); });
    tools.append(field(name, control));
  });
  tools.append(count);
  tools.hidden = tools.children.length < 2;
  apply();
  return apply;
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

// the rows of the board stay; their values are those of the chosen metric and reference
function board(table, form, refilter) {
  const { kinds, values } = window.LEADERBOARD;
  const rows = [...table.tBodies[0].rows];
  const head = [...table.tHead.rows[0].cells].findIndex((cell) => "value" in cell.dataset);
  const [metric, reference] = [form.elements.metric, form.elements.reference];
  for (const name of new Set(kinds.map((kind) => kind.metric))) metric.add(new Option(name, name));
  const show = () => {
    const kind = kinds.find((k) => k.metric === metric.value && k.reference === reference.value);
    const numbers = values[`${kind.metric}|${kind.reference}`];
    rows.forEach((row, i) => {
      const [mean, low, high] = numbers[i], cell = row.cells[head];
      row.dataset.none = mean === null ? "1" : "";
      if (mean === null) { cell.textContent = "–"; delete cell.dataset.v; return; }
      cell.textContent = low === null ? number(mean) : interval(mean, low, high);
      cell.dataset.v = mean;
    });
    table.tHead.rows[0].cells[head].querySelector("button").textContent = kind.metric;
    const against = kind.reference ? `, against ${kind.reference}` : "";
    const best = { lower: "lower is better", higher: "higher is better", gap: "judge by its distance to the reference's" }[kind.direction] || "";
    document.querySelector("[data-about]").textContent =
      `${kind.metric} (${kind.unit})${against}, on ${kind.group}: ${kind.summary} ${best ? best[0].toUpperCase() + best.slice(1) + "." : ""}`;
    refilter();
    sort(table, head, kind.direction === "higher");
  };
  const references = () => {
    const known = kinds.filter((kind) => kind.metric === metric.value).map((kind) => kind.reference);
    reference.replaceChildren(...known.map((name) => new Option(name || "none", name)));
    if (known.includes("clean")) reference.value = "clean";
    show();
  };
  metric.addEventListener("change", references);
  reference.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  references();
}

for (const table of document.querySelectorAll("table[data-sort]")) {
  const form = document.querySelector("[data-board]");
  const own = table.id === "board" ? form : Object.assign(document.createElement("form"), { className: "tools", hidden: true });
  if (own !== form) table.closest(".box").before(own);
  own.addEventListener("submit", (event) => event.preventDefault());
  const refilter = "filter" in table.dataset ? filterable(table, own) : () => {};
  sortable(table);
  if (table.id === "board") board(table, form, refilter);
}
