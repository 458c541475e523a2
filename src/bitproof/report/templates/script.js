for (const button of document.querySelectorAll(".fold")) {
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") === "false";
    button.setAttribute("aria-expanded", open);
    for (const row of document.querySelectorAll(`[data-in="${button.dataset.fold}"]`)) row.hidden = !open;
  });
}

const value = (row, column) => {
  const cell = row.cells[column];
  if (cell.dataset.v === undefined) return cell.textContent;
  return cell.dataset.v === "" ? null : Number(cell.dataset.v);
};

const order = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);

for (const button of document.querySelectorAll(".full th button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const body = head.closest("table").tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const x = value(a, head.cellIndex), y = value(b, head.cellIndex);
      if (x === null || y === null) return (x === null) - (y === null); // what is missing goes last, both ways
      return up ? order(x, y) : order(y, x);
    });
    body.append(...rows);
  });
}

for (const input of document.querySelectorAll("[data-filter]")) {
  const rows = [...document.getElementById(input.dataset.filter).tBodies[0].rows];
  const output = input.closest(".tools").querySelector("output");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
    output.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
}
