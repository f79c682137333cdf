/* Two to four models of the reader's choice, image by image. Data comes as scripts: they load from disk too. */
(function () {
  "use strict";

  var MOST = 4, EXTREMES = 12;
  var home = document.getElementById("duel");
  if (!home) return;
  var boards = Array.prototype.map.call(document.querySelectorAll(".duel-board"), function (node) {
    return {
      key: node.getAttribute("data-board"), metric: node.getAttribute("data-metric"),
      sign: Number(node.getAttribute("data-sign")), over: node.getAttribute("data-over"),
      models: node.getAttribute("data-models").split(" "), loaded: {}, waiting: {}
    };
  });
  var state = {};

  function make(tag, properties, children) {
    var node = document.createElement(tag);
    Object.keys(properties || {}).forEach(function (name) {
      if (name in node) node[name] = properties[name];
      else node.setAttribute(name, properties[name]);
    });
    (children || []).forEach(function (child) { node.append(child); });
    return node;
  }

  function drawn(tag, attributes, children) {
    var node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.keys(attributes).forEach(function (name) { node.setAttribute(name, attributes[name]); });
    (children || []).forEach(function (child) { node.append(child); });
    return node;
  }

  function number(value, digits) {
    if (!isFinite(value)) return value < 0 ? "−∞" : "∞";
    return value.toFixed(digits === undefined ? 3 : digits).replace(/^-(0\.?0*)$/, "$1").replace("-", "−");
  }

  function boardOf(key) { return boards.filter(function (board) { return board.key === key; })[0] || boards[0]; }

  // ---- data ------------------------------------------------------------------------------------------------------

  window.benchCompare = function (what, key, content) {
    var board = boardOf(key);
    board.loaded[what === "samples" ? "samples" : "model " + content.model] = content;
  };

  function load(board, name, file) {
    if (board.loaded[name]) return Promise.resolve(board.loaded[name]);
    board.waiting[name] = board.waiting[name] || new Promise(function (resolve, reject) {
      var script = make("script", { src: "compare/" + encodeURIComponent(board.key) + "/" + encodeURIComponent(file) });
      script.addEventListener("load", function () { resolve(board.loaded[name]); });
      script.addEventListener("error", function () { reject(new Error(file)); });
      document.head.append(script);
    });
    return board.waiting[name];
  }

  // ---- numbers ---------------------------------------------------------------------------------------------------

  function shared(models) {
    return Object.keys(models[0].values).filter(function (id) {
      return models.every(function (model) { return id in model.values; });
    });
  }

  function values(models, id) { return models.map(function (model) { return model.values[id]; }); }

  function spread(models, id) {
    var found = values(models, id);
    return Math.max.apply(null, found) - Math.min.apply(null, found);
  }

  function lead(board, quantiles, first, second, ids) {
    var gains = ids.map(function (id) { return board.sign * (first.values[id] - second.values[id]); });
    var mean = gains.reduce(function (sum, gain) { return sum + gain; }, 0) / gains.length;
    var squares = gains.reduce(function (sum, gain) { return sum + (gain - mean) * (gain - mean); }, 0);
    var half = gains.length > 1 ? quantiles[gains.length - 2] * Math.sqrt(squares / (gains.length - 1) / gains.length) : Infinity;
    return { mean: mean, low: mean - half, high: mean + half, wins: gains.filter(function (gain) { return gain > 0; }).length };
  }

  function table(caption, heads, rows) {
    var head = make("tr", {}, heads.map(function (text) { return make("th", { scope: "col", textContent: text }); }));
    var body = rows.map(function (cells) {
      return make("tr", {}, cells.map(function (cell, index) {
        return index ? make("td", {}, [].concat(cell)) : make("th", { scope: "row" }, [].concat(cell));
      }));
    });
    var made = make("table", {}, [make("caption", { textContent: caption }), make("thead", {}, [head]), make("tbody", {}, body)]);
    return make("div", { className: "scroll", role: "region", "aria-label": caption, tabIndex: 0 }, [made]);
  }

  function pairs(board, quantiles, models, ids) {
    var rows = [];
    models.forEach(function (first, index) {
      models.slice(index + 1).forEach(function (second) {
        var found = lead(board, quantiles, first, second, ids);
        var sure = found.low > 0 || found.high < 0;
        rows.push([first.model + " over " + second.model, make(sure ? "b" : "span", { textContent: number(found.mean) }),
          "[" + number(found.low) + ", " + number(found.high) + "]", found.wins + " of " + ids.length]);
      });
    });
    return table("Lead: mean of the paired differences in " + board.metric + (board.sign < 0 ? ", with the sign reversed," : "") +
      " with its 95 % interval (Student's, paired), as in bench compare. Above 0, the first model is more robust. Not corrected for the number of pairs.",
      ["Pair", "Lead", "95 % interval", "First more robust on"], rows);
  }

  function extremes(board, models, ids, classes) {
    var chosen = ids.slice().sort(function (a, b) { return spread(models, b) - spread(models, a) || (a < b ? -1 : 1); }).slice(0, EXTREMES);
    var rows = chosen.map(function (id) {
      return [id, make("bdi", { textContent: classes[id] || "" })].concat(values(models, id).map(function (value) { return number(value); }), [number(spread(models, id))]);
    });
    return table("The images on which the models differ most", ["Image", "Class"].concat(models.map(function (m) { return m.model; }), ["Spread"]), rows);
  }

  // ---- pictures --------------------------------------------------------------------------------------------------

  function tile(model, tile) {
    var box = tile.slice(4).join(" ");
    var image = drawn("image", { href: "images/" + model.file, width: model.size[0], height: model.size[1] });
    var picture = drawn("svg", { "class": tile[0], role: "img", "aria-label": tile[3], viewBox: box }, [image]);
    return make("figure", { className: "of-" + tile[0] }, [picture, make("figcaption", {}, [make("b", { textContent: tile[1] }), " ", make("bdi", { textContent: tile[2] })])]);
  }

  function strips(board, models, ids, classes) {
    var byModel = models.map(function (model) {
      var found = {};
      model.strips.forEach(function (strip) { found[strip.id] = strip; });
      return found;
    });
    var both = Object.keys(byModel[0]).filter(function (id) { return byModel.every(function (found) { return id in found; }); })
      .map(function (id) { return { id: id, spread: ids.indexOf(id) < 0 ? -1 : spread(models, id) }; })
      .sort(function (a, b) { return b.spread - a.spread || (a.id < b.id ? -1 : 1); })
      .map(function (item) { return item.id; });
    document.getElementById("duel-strips").hidden = both.length === 0;
    document.getElementById("duel-images").replaceChildren.apply(document.getElementById("duel-images"), both.map(function (id) {
      return make("article", {}, [make("h3", {}, [make("bdi", { textContent: classes[id] || "" }), " ", make("small", { textContent: id })])].concat(
        models.map(function (model, index) {
          var strip = byModel[index][id], value = model.values[id];
          var title = make("h4", {}, [model.model + " ", make("small", { textContent: value === undefined ? "not in the mean" : board.metric + " " + number(value) })]);
          return make("div", { className: "strip wide" }, [title, make("div", { className: "tiles" }, strip.tiles.map(function (t) { return tile(strip, t); }))]);
        })));
    }));
  }

  // ---- the page --------------------------------------------------------------------------------------------------

  var output = make("div", { className: "duel-output" });
  output.setAttribute("aria-live", "polite");

  function remember() {
    var query = new URLSearchParams(location.search);
    query.set("compare.board", state.board.key);
    query.set("compare.models", state.models.filter(Boolean).join("~"));
    history.replaceState(null, "", location.pathname + "?" + query.toString() + location.hash);
  }

  function show() {
    var board = state.board, names = Array.from(new Set(state.models.filter(Boolean)));
    if (names.length < 2) return output.replaceChildren(make("p", { className: "note", textContent: "Choose at least two models." }));
    var wanted = names.map(function (name) { return load(board, "model " + name, name + ".js"); });
    return Promise.all([load(board, "samples", "samples.js")].concat(wanted)).then(function (found) {
      var samples = found[0], models = found.slice(1), ids = shared(models), classes = {};
      samples.ids.forEach(function (id, index) { classes[id] = samples.classes[index]; });
      var told = make("p", { className: "note", textContent: ids.length + " " + board.over + "; under " +
        models.map(function (model) { return model.attack + " (" + model.model + ")"; }).join(", ") + "." });
      if (!ids.length) return output.replaceChildren(told);
      output.replaceChildren(told, pairs(board, samples.quantiles, models, ids), extremes(board, models, ids, classes));
      strips(board, models, ids, classes);
    }, function (error) {
      output.replaceChildren(make("p", { className: "callout", textContent: "A file with a model's data is missing beside this page: " + error.message }));
    });
  }

  function choice(index) {
    var options = [make("option", { value: "", textContent: index < 2 ? "choose" : "none" })].concat(state.board.models.map(function (name) { return make("option", { value: name, textContent: name }); }));
    var select = make("select", {}, options);
    select.value = state.models[index] || "";
    select.addEventListener("change", function () {
      state.models[index] = select.value;
      remember();
      show();
    });
    return make("label", {}, ["Model " + (index + 1) + " ", select]);
  }

  function controls() {
    var chooser = make("select", {}, boards.map(function (board) { return make("option", { value: board.key, textContent: board.key }); }));
    chooser.value = state.board.key;
    chooser.addEventListener("change", function () {
      state = { board: boardOf(chooser.value), models: boardOf(chooser.value).models.slice(0, 2) };
      remember();
      start();
    });
    var choices = [];
    for (var index = 0; index < MOST; index += 1) choices.push(choice(index));
    var group = make("div", { className: "controls", role: "group" }, [make("label", {}, ["Protocol ", chooser])].concat(choices));
    group.setAttribute("aria-label", "Models to compare");
    return group;
  }

  function start() {
    home.replaceChildren(controls(), output);
    return show();
  }

  if (!boards.length) {
    home.replaceChildren(make("p", { className: "note", textContent: "No board has two models that can be compared yet." }));
    return;
  }
  var query = new URLSearchParams(location.search);
  var board = boardOf(query.get("compare.board"));
  var asked = (query.get("compare.models") || "").split("~").filter(function (name) { return board.models.indexOf(name) >= 0; }).slice(0, MOST);
  state = { board: board, models: asked.length ? asked : board.models.slice(0, 2) };
  start();
})();
