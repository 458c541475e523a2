const table = document.getElementById("board"), form = document.getElementById("filters");
const bodies = [...table.tBodies], heads = [...table.tHead.rows[0].cells];
const rows = bodies.flatMap((body) => [...body.rows].slice(1));
const lines = document.getElementById("csv").textContent.trimEnd().split("\n");
const facts = (row) => ({ ...row.closest("tbody").dataset, ...row.dataset });
let sorted = null, down = false;

const value = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.v === undefined ? cell.textContent : cell.dataset.v === "" ? null : Number(cell.dataset.v);
};
const order = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);

function show() {
  const asked = Object.fromEntries([...new FormData(form)].filter(([, said]) => said));
  const words = (asked.q || "").toLowerCase().split(/\s+/);
  for (const row of rows) {
    const own = facts(row), name = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => name.includes(word))
      || Object.entries(asked).some(([key, said]) => key !== "q" && own[key] !== said);
  }
  for (const body of bodies) {
    body.hidden = [...body.rows].slice(1).every((row) => row.hidden);
    const drawn = document.querySelector(`[data-of="${body.id}"]`);
    if (drawn) drawn.hidden = body.hidden;
  }
  for (const [column, head] of heads.entries()) {
    head.setAttribute("aria-sort", column !== sorted ? "none" : down ? "descending" : "ascending");
  }
  for (const body of bodies) {
    const own = [...body.rows].slice(1).sort((a, b) => {
      if (sorted === null) return a.dataset.line - b.dataset.line;
      const x = value(a, sorted), y = value(b, sorted);
      if (x === null || y === null) return (x === null) - (y === null); // what is missing goes last, both ways
      return down ? order(y, x) : order(x, y);
    });
    body.append(...own);
  }
  const seen = rows.filter((row) => !row.hidden).length;
  form.querySelector("output").textContent = `${seen} of ${rows.length} rows`;
  if (sorted !== null) Object.assign(asked, { sort: heads[sorted].textContent }, down ? { down: "1" } : {});
  const said = new URLSearchParams(asked).toString();
  if (said || location.hash.includes("=")) history.replaceState(null, "", `#${said}`);
}

function read() {
  if (location.hash.length > 1 && !location.hash.includes("=")) return; // an anchor
  const said = new URLSearchParams(location.hash.slice(1));
  for (const field of form.elements) if (field.name) field.value = said.get(field.name) || "";
  const column = heads.findIndex((head) => head.textContent === said.get("sort"));
  sorted = column < 0 ? null : column;
  down = said.has("down");
  show();
}

for (const select of form.querySelectorAll("select")) {
  const known = new Set(rows.map((row) => facts(row)[select.name]));
  for (const one of [...known].sort((a, b) => order(a, b))) select.append(new Option(one, one));
}
for (const [column, head] of heads.entries()) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  head.setAttribute("aria-sort", "none");
  button.addEventListener("click", () => {
    // Numbers are first shown with the largest on top, but for ranks.
    down = column === sorted ? !down : rows[0].cells[column].dataset.v !== undefined && column !== 1;
    sorted = column;
    show();
  });
}
form.addEventListener("input", show);
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", () => { sorted = null; down = false; setTimeout(show); });
addEventListener("hashchange", read);
form.hidden = false;
offers.csv = () => {
  const shown = [...table.rows].filter((row) => row.dataset.line !== undefined && !row.hidden);
  return [lines[0], ...shown.map((row) => lines[1 + Number(row.dataset.line)]), ""].join("\n");
};
read();
