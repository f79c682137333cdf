/* Sorting and copying, added to pages that are complete without them. */
(function () {
  "use strict";

  function key(row, column) {
    var cell = row.cells[column];
    var raw = (cell && cell.getAttribute("data-sort-value")) || "";
    if (raw === "") return null;
    var number = Number(raw);
    return isNaN(number) ? raw : number;
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a) < String(b) ? -1 : String(a) > String(b) ? 1 : 0;
  }

  function sort(table, header) {
    var next = header.getAttribute("aria-sort");
    next = next ? (next === "ascending" ? "descending" : "ascending") : header.getAttribute("data-first");
    var sign = next === "ascending" ? 1 : -1;
    var column = Number(header.getAttribute("data-column"));
    var body = table.tBodies[0];
    Array.prototype.slice.call(body.rows)
      .map(function (row, index) { return { row: row, index: index, key: key(row, column) }; })
      .sort(function (a, b) {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
        return sign * compare(a.key, b.key) || a.index - b.index;
      })
      .forEach(function (item) { body.appendChild(item.row); });
    table.querySelectorAll("th[aria-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
    header.setAttribute("aria-sort", next);
  }

  function makeSortable(table) {
    table.querySelectorAll("th[data-column]").forEach(function (header) {
      var button = document.createElement("button");
      button.type = "button";
      while (header.firstChild) button.appendChild(header.firstChild);
      button.addEventListener("click", function () { sort(table, header); });
      header.appendChild(button);
    });
  }

  function makeCopyable(block) {
    var button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", function () {
      var text = block.textContent.trim();
      function done() { button.textContent = "Copied"; }
      function select() { window.getSelection().selectAllChildren(block); button.textContent = "Selected"; }
      if (navigator.clipboard) navigator.clipboard.writeText(text).then(done, select);
      else select();
    });
    block.parentNode.insertBefore(button, block);
  }

  document.querySelectorAll("table.sortable").forEach(makeSortable);
  document.querySelectorAll(".copyable").forEach(makeCopyable);

  // A link to something inside a closed <details> opens it.
  function reveal() {
    var target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (var node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  }
  window.addEventListener("hashchange", reveal);
  reveal();
})();
