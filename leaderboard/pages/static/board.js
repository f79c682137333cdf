/* Sorting, filtering, choosing columns and copying, added to pages that are complete without them. */
(function () {
  "use strict";

  var MOST = 25; // rows that are shown before somebody asks for all: a browser lays out more too slowly to sort

  function list(nodes) { return Array.prototype.slice.call(nodes); }

  function make(tag, properties, children) {
    var node = document.createElement(tag);
    Object.keys(properties || {}).forEach(function (name) {
      if (name in node) node[name] = properties[name];
      else node.setAttribute(name, properties[name]);
    });
    (children || []).forEach(function (child) { node.append(child); });
    return node;
  }

  // ---- sorting -------------------------------------------------------------------------------------------------

  function text(row, column) { return row.cells[column].textContent.trim().replace(/\s+/g, " "); }

  function sortKey(row, index, header) {
    if (header.hasAttribute("data-as-built")) return index;
    var link = row.cells[header.cellIndex].querySelector("a");
    var value = link ? link.textContent : text(row, header.cellIndex);
    if (value === "" || value.charAt(0) === "–") return null;
    if (header.hasAttribute("data-text")) return value.toLowerCase();
    var number = parseFloat(value.replace("−", "-"));
    return isNaN(number) ? null : number;
  }

  function sort(board, header, direction) {
    var sign = direction === "ascending" ? 1 : -1;
    header.keys = header.keys || board.rows.map(function (row, index) { return sortKey(row, index, header); });
    var sorted = board.rows
      .map(function (row, index) { return { row: row, index: index, key: header.keys[index] }; })
      .sort(function (a, b) {
        if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.index - b.index;
        return sign * ((a.key > b.key) - (a.key < b.key)) || a.index - b.index;
      });
    board.order = sorted.map(function (item) { return item.row; });
    board.headers.forEach(function (other) { other.removeAttribute("aria-sort"); });
    header.setAttribute("aria-sort", direction);
  }

  function name(header) { return header.getAttribute("data-name"); }

  function makeSortable(board) {
    board.headers.forEach(function (header) {
      if (!header.hasAttribute("data-first")) return;
      var button = make("button", { type: "button" }, list(header.childNodes));
      button.addEventListener("click", function () {
        var now = header.getAttribute("aria-sort");
        var next = now ? (now === "ascending" ? "descending" : "ascending") : header.getAttribute("data-first");
        sort(board, header, next);
        board.body.replaceChildren(); // moving rows within a table is slower than taking them out and putting them in
        board.state.sort = name(header);
        changed(board, "order", next);
      });
      header.append(button);
    });
  }

  // ---- filters and columns: each is an entry of the state, and the state is in the address ------------------------

  function flags(row) {
    var found = list(row.querySelectorAll("[data-flag]")).map(function (chip) { return chip.getAttribute("data-flag"); });
    return found.length ? found : ["none"];
  }

  function badges(row) { return list(row.querySelectorAll("[data-badge]")).map(function (chip) { return chip.textContent; }); }

  function filtersOf(board) {
    var filters = board.headers.filter(function (header) { return header.hasAttribute("data-filter"); }).map(function (header) {
      return { name: name(header), of: function (row) { return [text(row, header.cellIndex)]; } };
    });
    filters.push({ name: "Flag", of: function (row) { return row.flags; } }, { name: "Badge", of: function (row) { return row.badges; } });
    return filters.filter(function (filter) {
      var values = {};
      board.rows.forEach(function (row) { filter.of(row).forEach(function (value) { values[value] = true; }); });
      filter.values = Object.keys(values).sort();
      return filter.values.length > 1;
    });
  }

  function apply(board) {
    var words = (board.state.search || "").toLowerCase().split(/\s+/);
    var found = board.order.filter(function (row) {
      return words.every(function (word) { return row.words.indexOf(word) >= 0; })
        && board.filters.every(function (filter) { var wanted = board.state[filter.name]; return !wanted || filter.of(row).indexOf(wanted) >= 0; });
    });
    var shown = board.state.rows === "all" ? found : found.slice(0, MOST);
    var present = board.body.rows;
    if (present.length !== shown.length || shown.some(function (row, place) { return present[place] !== row; })) {
      board.body.replaceChildren.apply(board.body, shown); // a row that is not shown is not in the page: hidden ones cost layout
    }
    board.more.hidden = shown.length === found.length;
    board.more.textContent = "Show all " + found.length;
    var total = board.rows.length + (board.rows.length === 1 ? " model" : " models");
    board.status.textContent = (shown.length === board.rows.length ? "" : shown.length + " of ") + total;
    var hidden = (board.state.hide || "").split("~");
    board.headers.forEach(function (header) {
      var hide = hidden.indexOf(name(header)) >= 0;
      if (hide === header.hidden) return;
      header.hidden = hide;
      board.rows.forEach(function (row) { row.cells[header.cellIndex].hidden = hide; });
    });
  }

  function remember(board) {
    var query = new URLSearchParams(location.search);
    Array.from(query.keys()).filter(function (key) { return key.indexOf(board.id + ".") === 0; }).forEach(function (key) { query.delete(key); });
    Object.keys(board.state).forEach(function (key) { if (board.state[key]) query.set(board.id + "." + key, board.state[key]); });
    var search = query.toString();
    history.replaceState(null, "", location.pathname + (search ? "?" + search : "") + location.hash);
  }

  function recall(board) {
    new URLSearchParams(location.search).forEach(function (value, key) {
      if (key.indexOf(board.id + ".") === 0) board.state[key.slice(board.id.length + 1)] = value;
    });
  }

  function changed(board, key, value) {
    board.state[key] = value;
    if (board.rows) apply(board);
    remember(board);
  }

  function searchField(board) {
    var input = make("input", { type: "search", value: board.state.search || "", placeholder: "name, training, …" });
    input.addEventListener("input", function () { changed(board, "search", input.value.trim()); });
    return make("label", {}, ["Search ", input]);
  }

  function choice(board, filter) {
    var options = ["all"].concat(filter.values).map(function (value, index) {
      return make("option", { value: index ? value : "", textContent: value });
    });
    var select = make("select", {}, options);
    select.value = board.state[filter.name] || "";
    select.addEventListener("change", function () { changed(board, filter.name, select.value); });
    return make("label", {}, [filter.name + " ", select]);
  }

  function columnChooser(board) {
    var boxes = board.headers.filter(function (header) { return !header.classList.contains("pinned"); }).map(function (header) {
      var box = make("input", { type: "checkbox", checked: !header.hidden, value: name(header) });
      return { box: box, label: make("label", {}, [box, " " + name(header)]) };
    });
    boxes.forEach(function (item) {
      item.box.addEventListener("change", function () {
        changed(board, "hide", boxes.filter(function (other) { return !other.box.checked; }).map(function (other) { return other.box.value; }).join("~"));
      });
    });
    return make("details", { className: "columns" }, [
      make("summary", { textContent: "Columns" }),
      make("fieldset", {}, [make("legend", { className: "hidden", textContent: "Columns to show" })].concat(boxes.map(function (item) { return item.label; })))
    ]);
  }

  function makeBoard(table) {
    var board = {
      id: table.getAttribute("data-board"), state: {}, body: table.tBodies[0],
      rows: list(table.tBodies[0].rows), headers: list(table.tHead.rows[0].cells)
    };
    board.order = board.rows;
    board.rows.forEach(function (row) {
      row.words = row.textContent.toLowerCase();
      row.flags = flags(row);
      row.badges = badges(row);
    });
    board.more = make("button", { type: "button", className: "quiet button" });
    board.more.addEventListener("click", function () {
      changed(board, "rows", "all");
      table.parentNode.focus();
    });
    board.filters = filtersOf(board);
    board.status = make("p", { className: "status" });
    board.status.setAttribute("role", "status");
    recall(board);
    makeSortable(board);
    var sorted = board.headers.filter(function (header) { return name(header) === board.state.sort && header.hasAttribute("data-first"); })[0];
    if (sorted) sort(board, sorted, board.state.order === "ascending" ? "ascending" : "descending");
    apply(board);
    var reset = make("button", { type: "button", className: "quiet button", textContent: "Reset" });
    reset.addEventListener("click", function () {
      board.state = {};
      remember(board);
      location.reload();
    });
    var controls = [searchField(board)].concat(board.filters.map(function (filter) { return choice(board, filter); }), [columnChooser(board), reset, board.more, board.status]);
    var toolbar = make("div", { className: "controls" }, controls);
    toolbar.setAttribute("role", "group");
    toolbar.setAttribute("aria-label", "Search, filters and columns of " + board.id);
    table.parentNode.before(toolbar);
  }

  // ---- images of one class ----------------------------------------------------------------------------------------

  function makeFilterable(container) {
    var items = list(container.querySelectorAll("[data-class]"));
    var label = container.getAttribute("data-label");
    var filter = { name: label, of: function (item) { return [item.getAttribute("data-class")]; } };
    filter.values = Array.from(new Set(items.map(function (item) { return filter.of(item)[0]; }))).sort();
    if (filter.values.length < 2) return;
    var state = { id: container.getAttribute("data-id"), state: {}, filters: [filter] };
    recall(state);
    function show() {
      var wanted = state.state[label];
      items.forEach(function (item) { item.hidden = Boolean(wanted) && filter.of(item)[0] !== wanted; });
      if (wanted) list(container.querySelectorAll("details.more")).forEach(function (more) { more.open = true; });
    }
    var control = choice(state, filter);
    control.querySelector("select").addEventListener("change", show);
    container.before(make("div", { className: "controls" }, [control]));
    show();
  }

  // ---- copying, and links into closed parts -----------------------------------------------------------------------

  function makeCopyable(block) {
    var button = make("button", { type: "button", className: "copy", textContent: "Copy" });
    button.addEventListener("click", function () {
      function done() { button.textContent = "Copied"; }
      function select() { window.getSelection().selectAllChildren(block); button.textContent = "Selected"; }
      if (navigator.clipboard) navigator.clipboard.writeText(block.textContent.trim()).then(done, select);
      else select();
    });
    block.before(button);
  }

  function reveal() {
    var target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (var node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  }

  list(document.querySelectorAll("table.sortable")).forEach(makeBoard);
  list(document.querySelectorAll(".filterable")).forEach(makeFilterable);
  list(document.querySelectorAll(".copyable")).forEach(makeCopyable);
  window.addEventListener("hashchange", reveal);
  reveal();
})();
