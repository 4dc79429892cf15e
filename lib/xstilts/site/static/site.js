// The search of the index; the contents and the code button of a notebook. Pages read well without it.
"use strict";

const form = document.getElementById("filter");
if (form) {
  const rows = [...document.querySelectorAll("#table tbody tr")];
  const matches = document.getElementById("matches");
  const filter = () => {
    const words = document.getElementById("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = [...form.querySelectorAll("select")].filter((select) => select.value);
    let count = 0;
    for (const row of rows) {
      const shown = words.every((word) => row.dataset.text.includes(word)) &&
        chosen.every((select) => row.dataset[select.dataset.key].split(" ").includes(select.value));
      row.hidden = !shown;
      count += shown;
    }
    matches.textContent = count === rows.length ? `${count} runs` : `${count} of ${rows.length} runs`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter(); // a browser that goes back fills the form in again
}

const button = document.getElementById("code");
const cells = [...document.querySelectorAll("details.code")];
if (button && cells.length) {
  const label = () => {
    button.textContent = cells.every((cell) => cell.open) ? "Hide all code" : "Show all code";
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const open = !cells.every((cell) => cell.open);
    for (const cell of cells) cell.open = open;
    label();
  });
  for (const cell of cells) cell.addEventListener("toggle", label);
}

const headings = [...document.querySelectorAll(".jp-MarkdownCell h2[id]")];
if (headings.length > 3) {
  const contents = document.createElement("nav");
  contents.className = "contents";
  contents.setAttribute("aria-label", "On this page");
  const list = contents.appendChild(document.createElement("ul"));
  for (const heading of headings) {
    const link = list.appendChild(document.createElement("li")).appendChild(document.createElement("a"));
    link.href = `#${encodeURIComponent(heading.id)}`;
    link.textContent = heading.firstChild.textContent;
  }
  document.querySelector(".tools").before(contents);
}
