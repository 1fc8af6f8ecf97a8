// The leaderboard: one condition at a time or all, measures side by side, every choice in the address.
"use strict";

const BOARD = window.LEADERBOARD;
for (const row of BOARD.rows) row[3] = row[3].map((i, j) => BOARD.choices[j][i]);
const ALL = "*", table = document.getElementById("board"), form = document.querySelector("[data-board]");
const BASIC = BOARD.beside;

// what is chosen: a value or ALL for each column; measure: one more than BASIC; sort: a measure; open: methods with variants
const fresh = () => ({ ...Object.fromEntries(BOARD.columns.map((name, i) => [name, BOARD.start[i] ?? ALL])), measure: "", q: "", sort: BASIC[0], down: "", open: "" });
let state = fresh();

const measures = () => (state.measure && !BASIC.includes(state.measure) ? [...BASIC, state.measure] : BASIC);
const entry = (row, kind) => BOARD.values[kind][row];
const named = (kind) => kind.split("|")[0];
const about = (kind) => BOARD.kinds.find((k) => `${k.metric}|${k.reference}` === kind);
const title = (kind) => BOARD.heads[named(kind)] || (kind.split("|")[1] ? `${named(kind)}, against ${kind.split("|")[1]}` : named(kind));

// rows that agree with the choices of the first n columns
const agreeing = (n) => BOARD.rows.map((_, i) => i).filter((i) => BOARD.columns.slice(0, n).every((name, j) => state[name] === ALL || BOARD.rows[i][3][j] === state[name]));

function commonest(rows, j) {
  const counts = new Map();
  for (const i of rows) counts.set(BOARD.rows[i][3][j], (counts.get(BOARD.rows[i][3][j]) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1])[0]?.[0] ?? ALL;
}

// an earlier choice decides what a later one can be: what leads nowhere is changed to the commonest value that does
function settle() {
  BOARD.columns.forEach((name, j) => {
    const rows = agreeing(j);
    if (state[name] !== ALL && !rows.some((i) => BOARD.rows[i][3][j] === state[name])) state[name] = commonest(rows, j);
  });
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  state = fresh();
  for (const name of Object.keys(state)) if (given.has(name)) state[name] = given.get(name);
  if (!(state.sort in BOARD.values) && state.sort !== "method") state.sort = BASIC[0];
  if (!(state.measure in BOARD.values)) state.measure = "";
  settle();
}

function writeAddress() {
  const start = fresh(), differs = Object.keys(state).some((name) => state[name] !== start[name]);
  const kept = Object.entries(state).filter(([name, v]) => v !== "" || start[name] !== "");
  history.replaceState(null, "", differs ? `#${new URLSearchParams(kept)}` : location.pathname + location.search);
}

function change(name, v) {
  state[name] = v;
  settle();
  writeAddress();
  render();
}

// --- the form ---

const controls = {};

function buildForm() {
  const search = document.createElement("input");
  search.type = "search";
  search.addEventListener("input", () => change("q", search.value));
  controls.q = search;
  form.append(field("method", search));
  const more = make("details"), inner = make("div");  // columns that few conditions have
  more.append(make("summary", "more filters"), inner);
  BOARD.columns.forEach((name, j) => {
    controls[name] = select([["all", ALL], ...BOARD.choices[j].map((v) => [v || "none", v])], state[name]);
    controls[name].addEventListener("change", () => change(name, controls[name].value));
    (BOARD.start[j] === "" ? inner : form).append(field(name, controls[name]));
    if (state[name] !== BOARD.start[j]) more.open = more.open || BOARD.start[j] === "";
  });
  const further = Object.keys(BOARD.values).filter((kind) => !BASIC.includes(kind));
  controls.measure = select([["none", ""], ...further.map((kind) => [title(kind), kind])], state.measure);
  controls.measure.addEventListener("change", () => change("measure", controls.measure.value));
  const reset = make("button", "reset", { type: "button" });
  reset.addEventListener("click", () => { state = fresh(); writeAddress(); render(); });
  controls.count = document.createElement("output");
  form.append(field("one more measure", controls.measure), reset, controls.count, more);
  more.hidden = !inner.children.length;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
}

function updateForm(shown) {
  BOARD.columns.forEach((name, j) => {
    const there = new Set(agreeing(j).map((i) => BOARD.rows[i][3][j]));
    for (const option of controls[name].options) option.disabled = option.value !== ALL && !there.has(option.value);
    controls[name].value = state[name];
  });
  const rows = agreeing(BOARD.columns.length);
  for (const option of controls.measure.options) option.disabled = option.value !== "" && !rows.some((i) => entry(i, option.value));
  controls.measure.value = state.measure;
  if (controls.q.value !== state.q) controls.q.value = state.q;
  controls.count.textContent = `${shown} of ${BOARD.rows.length} rows`;
  const kind = about(state.measure || state.sort) || about(BASIC[0]);
  const against = kind.reference ? `, against ${kind.reference}` : "";
  document.querySelector("[data-about]").textContent = `${kind.metric}${kind.unit ? ` (${kind.unit})` : ""}${against}, on ${kind.group}: ${kind.summary}`;
}

// --- the table ---

// residual influence and gaps: the nearer to 0 the nearer to the reference; what has no number stands last
function compare2(a, b) {
  if (state.sort === "method") return (state.down ? -1 : 1) * BOARD.rows[a][0].localeCompare(BOARD.rows[b][0], "en", { numeric: true });
  const [x, y] = [entry(a, state.sort), entry(b, state.sort)];
  if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);
  const size = (v) => (named(state.sort).startsWith("residual_influence") ? Math.abs(v[0]) : v[0]);
  return (state.down ? -1 : 1) * (size(x) - size(y));
}

function head(kind, kinds) {
  const cell = make("th", "", { scope: "col", class: kind === "method" ? "stick" : "number", title: kind === "method" ? "the unlearning method, or a reference model" : about(kind).summary });
  const button = make("button", kind === "method" ? "method" : title(kind), { type: "button" });
  button.addEventListener("click", () => {
    const down = state.sort === kind ? (state.down ? "" : "1") : kind !== "method" && about(kind).direction === "higher" ? "1" : "";
    state.sort = kind;
    change("down", down);
    table.tHead.rows[0].cells[kinds.indexOf(kind) + 1].querySelector("button").focus();
  });
  cell.append(button);
  if (state.sort === kind) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
  return cell;
}

function line(i, columns, kinds, folded) {
  const [method, part, of, words, n, diverged, page] = BOARD.rows[i], row = make("tr"), name = make("th", "", { scope: "row", class: "stick" });
  name.append(BOARD.cards.includes(method) ? make("a", method, { href: `method/${method}.html` }) : method);
  if (of && folded === null) row.className = "variant";
  if (folded) {
    const open = state.open.split(";").includes(method), button = make("button", `${open ? "−" : "+"}${folded}`, { type: "button", class: "fold", "aria-expanded": open, title: `${folded} variants` });
    button.addEventListener("click", () => {
      const others = state.open.split(";").filter((m) => m && m !== method);
      change("open", (open ? others : [...others, method]).join(";"));
    });
    name.append(" ", button);
  }
  row.append(name);
  for (const kind of kinds) {
    const v = entry(i, kind), cell = make("td", !v ? "–" : v.length < 3 ? number(v[0]) : interval(...v), { class: "number" });
    row.append(cell);
  }
  for (const j of columns) row.append(make("td", words[j]));
  row.append(make("td", diverged ? `${n} (${diverged} diverged)` : n, { class: "number" }));
  const last = row.insertCell();
  if (page) last.append(make("a", "runs", { href: `results/${page}`, "aria-label": `Runs behind ${method}` }));
  return row;
}

function render() {
  const kinds = measures(), columns = BOARD.columns.map((_, j) => j).filter((j) => state[BOARD.columns[j]] === ALL);
  const words = state.q.trim().toLowerCase(), open = state.open.split(";");
  const fitting = agreeing(BOARD.columns.length).filter((i) => BOARD.rows[i][0].toLowerCase().includes(words) && kinds.some((kind) => entry(i, kind)));
  const place = (i) => `${BOARD.rows[i][3].join("|")}|${BOARD.rows[i][1]}|`;
  const bases = new Set(fitting.map((i) => place(i) + BOARD.rows[i][0])), variants = new Map(), above = [];
  for (const i of fitting) {  // a variant stands below its method, if that is here
    const base = place(i) + BOARD.rows[i][2];
    if (!BOARD.rows[i][2] || !bases.has(base)) above.push(i);
    else variants.set(base, [...(variants.get(base) || []), i]);
  }
  const top = make("tr"), heads = ["method", ...kinds];
  top.append(...heads.map((kind) => head(kind, kinds)));
  for (const j of columns) top.append(make("th", BOARD.columns[j], { scope: "col" }));
  top.append(make("th", "seeds", { scope: "col", class: "number", title: "seeds that means are over" }), make("th", "runs", { scope: "col", title: "runs behind the row" }));
  table.tHead.replaceChildren(top);
  for (const body of [...table.tBodies]) body.remove();
  let shown = 0;
  for (const [part, words] of Object.entries(BOARD.parts)) {
    const rows = above.filter((i) => BOARD.rows[i][1] === part).sort(compare2);
    if (!rows.length) continue;
    const body = table.createTBody(), title = body.insertRow(), cell = make("th", "", { scope: "rowgroup", colspan: top.cells.length });
    body.dataset.part = part;
    title.className = "part";
    cell.append(make("span", words));
    title.append(cell);
    for (const i of rows) {
      const own = (variants.get(place(i) + BOARD.rows[i][0]) || []).sort(compare2);
      body.append(line(i, columns, kinds, own.length));
      if (open.includes(BOARD.rows[i][0])) for (const v of own) body.append(line(v, columns, kinds, null));
      shown += 1 + own.length;
    }
  }
  updateForm(shown);
}

readAddress();
buildForm();
render();
window.addEventListener("hashchange", () => { readAddress(); render(); });
