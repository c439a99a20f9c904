// Filters of the front page and opening of what an address points to. Everything is readable without this script.
(() => {
  document.documentElement.classList.add("js");
  const form = document.querySelector(".filters");
  const rows = [...document.querySelectorAll("tbody.claim-group")];
  const heads = [...document.querySelectorAll("tbody.paper-group")];
  const text = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  function filter() {
    const paper = form.elements.paper.value;
    const verdict = form.elements.verdict.value;
    const words = form.elements.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const shown = new Set();
    let count = 0;
    for (const row of rows) {
      const fits = (!paper || row.dataset.paper === paper) && (!verdict || row.dataset.verdict === verdict) &&
        words.every((word) => text.get(row).includes(word));
      row.hidden = !fits;
      if (fits) { shown.add(row.dataset.paper); count += 1; }
    }
    const all = !paper && !verdict && !words.length;
    for (const head of heads) {
      head.hidden = !(all || shown.has(head.dataset.paper) || (head.dataset.paper === paper && !verdict && !words.length));
    }
    form.querySelector("output").textContent = `${count} of ${rows.length} claims`;
  }

  if (form) {
    form.addEventListener("input", filter);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(filter));
    filter();
  }

  for (const row of rows) {
    row.querySelector("tr.claim").addEventListener("click", (event) => {
      if (event.target.closest("a, summary, button") || String(getSelection())) return;
      const details = row.querySelector("details");
      if (details) details.open = !details.open;
    });
  }

  function open() {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const details = target.matches("tbody") ? target.querySelector("details") : target.closest("details");
    if (details) details.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", open);
  open();

  const printed = [];
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details.print:not([open])")) { details.open = true; printed.push(details); }
  });
  addEventListener("afterprint", () => { for (const details of printed.splice(0)) details.open = false; });
})();
