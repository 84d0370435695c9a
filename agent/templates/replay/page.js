"use strict";
const entries = [...document.querySelectorAll("article")];
const find = document.getElementById("find");
const trouble = document.getElementById("trouble");
const kinds = [...document.querySelectorAll("fieldset input[value]")];
const expand = document.getElementById("expand");

function filter() {
  const wanted = find.value.toLowerCase();
  const checked = new Set(kinds.filter((box) => box.checked).map((box) => box.value));
  let shown = 0;
  for (const entry of entries) {
    const { kind, mood } = entry.dataset;
    const passes = checked.has(kind) && !(trouble.checked && mood === "good");
    entry.hidden = !passes || !entry.textContent.toLowerCase().includes(wanted);
    shown += entry.hidden ? 0 : 1;
  }
  document.getElementById("shown").value = `${shown} of ${entries.length} records`;
}

expand.addEventListener("click", () => {
  const open = expand.textContent === "expand all";
  for (const details of document.querySelectorAll("details")) details.open = open;
  expand.textContent = open ? "collapse all" : "expand all";
});
document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("controls").addEventListener("input", filter);
document.getElementById("controls").hidden = false;
filter();
