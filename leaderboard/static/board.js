/* Sorting and copying, added to pages that are complete without them. */
(function () {
  "use strict";

  function key(row, column, isText) {
    var cell = row.cells[column];
    var text = (cell.querySelector("a") || cell).textContent.trim();
    if (text === "" || text.charAt(0) === "–") return null;
    if (isText) return text.toLowerCase();
    var number = parseFloat(text.replace("−", "-"));
    return isNaN(number) ? null : number;
  }

  function sort(table, header, direction) {
    var sign = direction === "ascending" ? 1 : -1;
    var body = table.tBodies[0];
    var isText = header.hasAttribute("data-text");
    var asBuilt = header.hasAttribute("data-as-built");
    table.rowsAsBuilt
      .map(function (row, index) { return { row: row, index: index, key: asBuilt ? index : key(row, header.cellIndex, isText) }; })
      .sort(function (a, b) {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
        return sign * ((a.key > b.key) - (a.key < b.key)) || a.index - b.index;
      })
      .forEach(function (item) { body.appendChild(item.row); });
    table.querySelectorAll("th[aria-sort]").forEach(function (other) { other.removeAttribute("aria-sort"); });
    header.setAttribute("aria-sort", direction);
  }

  function makeSortable(table) {
    table.rowsAsBuilt = Array.prototype.slice.call(table.tBodies[0].rows);
    table.querySelectorAll("th[data-first]").forEach(function (header) {
      var button = document.createElement("button");
      button.type = "button";
      while (header.firstChild) button.appendChild(header.firstChild);
      button.addEventListener("click", function () {
        var now = header.getAttribute("aria-sort");
        sort(table, header, now ? (now === "ascending" ? "descending" : "ascending") : header.getAttribute("data-first"));
      });
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
