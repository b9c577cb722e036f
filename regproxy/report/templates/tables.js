// Sort a table by a click on a header: ascending, descending, the order of the file.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const order = { ascending: "descending", descending: "none" }[header.ariaSort] ?? "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      if (order !== "none") header.setAttribute("aria-sort", order);
      const rows = order === "none" ? original : sorted(original, column, order === "descending");
      body.append(...rows);
      table.classList.toggle("sorted", order !== "none");
    });
  });
}

function sorted(rows, column, descending) {
  const text = (row) => row.cells[column].textContent.trim();
  const number = (row) => (/ of /.test(text(row)) ? NaN : parseFloat(text(row).replace("−", "-").replaceAll(",", ""))); // "1 of 3", "1,024"
  const compare = (a, b) => {
    const [x, y] = [number(a), number(b)];
    if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1; // lines without a number come last
    const difference = isNaN(x) ? text(a).localeCompare(text(b)) : x - y;
    return descending ? -difference : difference;
  };
  return [...rows].sort(compare);
}

// Show the detail of a cell, such as the score of each seed, while it is hovered over or focused.
const detail = Object.assign(document.createElement("div"), { id: "detail", hidden: true });
detail.setAttribute("role", "tooltip");
document.body.append(detail);
for (const cell of document.querySelectorAll("[data-detail]")) {
  const show = () => {
    detail.textContent = cell.dataset.detail;
    detail.hidden = false;
    const [box, own] = [cell.getBoundingClientRect(), detail.getBoundingClientRect()];
    detail.style.left = `${Math.max(4, Math.min(box.left, innerWidth - own.width - 4))}px`;
    detail.style.top = `${box.top - own.height - 4 < 0 ? box.bottom + 4 : box.top - own.height - 4}px`;
  };
  const hide = () => { detail.hidden = true; };
  for (const name of ["mouseenter", "focus", "click"]) cell.addEventListener(name, show);
  for (const name of ["mouseleave", "blur"]) cell.addEventListener(name, hide);
}
addEventListener("scroll", () => { detail.hidden = true; }, { passive: true, capture: true });
