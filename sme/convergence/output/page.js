"use strict";
(() => {
  const table = document.getElementById("table"), body = table.tBodies[0], rows = [...body.rows];
  const form = document.getElementById("filters"), count = document.getElementById("count");
  const fields = [...form.querySelectorAll("[data-filter]")];
  const articles = () => [...document.querySelectorAll("article.study")];  // more of them come while the page is read
  const studies = new Set(rows.map((row) => row.dataset.study));
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase() + " " + row.dataset.study.toLowerCase()]));

  const fits = (row, name, value) => {
    if (value === "") return true;
    if (name === "text") return value.toLowerCase().split(/\s+/).every((word) => words.get(row).includes(word));
    return row.dataset[name] === value;
  };

  const filter = () => {
    const seen = new Set();
    let shown = 0;
    for (const row of rows) {
      const fit = fields.every((field) => fits(row, field.dataset.filter, field.value.trim()));
      row.hidden = !fit;
      if (fit) { shown += 1; seen.add(row.dataset.study); }
    }
    for (const article of articles()) article.hidden = !seen.has(article.id);
    count.value = `${shown} of ${rows.length} slopes, ${seen.size} of ${studies.size} studies`;
  };

  const key = (row, column, kind) => {
    const cell = row.cells[column], text = "key" in cell.dataset ? cell.dataset.key : cell.textContent;
    if (kind === "text") return text;
    return text === "" ? NaN : Number(text);
  };

  const sort = (head, column) => {
    const kind = head.dataset.kind, sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const keys = new Map(rows.map((row) => [row, key(row, column, kind)]));
    rows.sort((one, other) => {
      const a = keys.get(one), b = keys.get(other);
      if (kind === "text") return sign * a.localeCompare(b);
      if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
      return sign * (a - b);
    });
    body.append(...rows);
  };

  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(head, column));
  });
  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  filter();
  document.addEventListener("DOMContentLoaded", filter);
  window.addEventListener("hashchange", () => {
    const article = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (article && article.hidden) { form.reset(); setTimeout(() => article.scrollIntoView()); }
  });
})();
