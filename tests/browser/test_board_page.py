"""The board's page in a browser, opened from disk.

Tests sorting, searching, filtering, columns and views to share.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.core.schemas.records import Flag
from leaderboard.build import build
from tests.browser.chromium import visit
from tests.support.factories import model_entry, store_run

ROBUSTNESS = {"natural-wrn28": 0.2, "pgd-wrn28": 0.5, "art-wrn28": 0.8, "new-wrn28": 0.9}
IMAGES = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(2)]
BOARD = "cifar10-linf8-v1"
SCRIPT = """
function button(text) {
  return Array.from(document.querySelectorAll("button")).find(function (b) { return b.textContent.startsWith(text); });
}
function set(selector, value, kind) {
  var node = document.querySelector(selector);
  node.value = value;
  node.dispatchEvent(new Event(kind));
}
function names() {
  return Array.from(document.querySelectorAll(".sortable tbody tr")).filter(function (row) { return !row.hidden; })
    .map(function (row) { return row.querySelector("th a").textContent; });
}
function sorted() {
  var heads = Array.from(document.querySelectorAll("[aria-sort]"));
  return heads.map(function (head) { return head.textContent + " " + head.ariaSort; });
}
function told() { return [document.querySelector("[role=status]").textContent, location.search]; }
function widths() {
  return Array.from(document.querySelectorAll(".sortable > * > tr")).map(function (row) {
    return Array.from(row.cells).filter(function (cell) { return cell.offsetWidth; }).length;
  });
}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("browser")
    for index, (name, robustness) in enumerate(ROBUSTNESS.items()):
        entry = model_entry(name, accuracy={"images": 10, "clean": 0.9 - 0.1 * index, "pgd40": None})
        flags = (Flag(name="infeasible-share", detail="so"),) if name.startswith("pgd") else ()
        store_run(root / "results", entry, robustness=robustness, showcase=IMAGES, flags=flags)
        if not name.startswith("new"):
            store_run(root / "results", entry, "random-noise", robustness=robustness + 0.1)
    build(root / "results", root / "site")
    return root / "site"


def test_sorting_by_clicks(site: Path) -> None:
    script = """var seen = [[names(), sorted()]];
      ["Clean", "Clean", "random-noise", "random-noise", "Rank"].forEach(function (head) {
        button(head).click();
        seen.push([names(), sorted()]);
      });
      return seen;"""
    built, descending, ascending, noise, noise_turned, back = visit(site, SCRIPT + script)
    assert built == [["art-wrn28", "pgd-wrn28", "natural-wrn28", "new-wrn28"], ["Rank ascending"]]
    assert descending == [["natural-wrn28", "pgd-wrn28", "art-wrn28", "new-wrn28"], ["Cleanaccuracy descending"]]
    assert ascending == [["new-wrn28", "art-wrn28", "pgd-wrn28", "natural-wrn28"], ["Cleanaccuracy ascending"]]
    assert noise[0] == ["art-wrn28", "pgd-wrn28", "natural-wrn28", "new-wrn28"]
    assert noise_turned[0] == ["natural-wrn28", "pgd-wrn28", "art-wrn28", "new-wrn28"], "what is undefined stays last"
    assert back == built


def test_searching_and_filtering_write_the_address_and_say_how_many_are_left(site: Path) -> None:
    script = """set("[type=search]", "ART wide", "input");
      var searched = [names(), told()];
      set("[type=search]", "", "input");
      set("select:has([value=infeasible-share])", "infeasible-share", "change");
      return [searched, [names(), told()]];"""
    assert visit(site, SCRIPT + script) == [
        [["art-wrn28"], ["1 of 4 models", f"?{BOARD}.search=ART+wide"]],
        [["pgd-wrn28"], ["1 of 4 models", f"?{BOARD}.Flag=infeasible-share"]],
    ]


def test_an_address_restores_its_view(site: Path) -> None:
    query = {"search": "wrn28", "Flag": "none", "sort": "Clean accuracy", "order": "descending", "hide": "Rank~Added"}
    script = """var before = [names(), widths()];
      Array.from(document.querySelectorAll(".columns input:not(:checked)")).forEach(function (box) { box.click(); });
      return [before, [names(), widths()], told()[1]];"""
    seen = visit(site, SCRIPT + script, query={f"{BOARD}.{key}": value for key, value in query.items()})
    (names, widths), (names_again, all_widths), address = seen
    assert names == names_again == ["natural-wrn28", "art-wrn28", "new-wrn28"]
    assert {width for width in widths if width} == {max(all_widths) - 2}
    assert "hide" not in address


def test_a_hostile_address_changes_nothing(site: Path) -> None:
    query = {f"{BOARD}.{key}": "<img src=x onerror=alert(1)>" for key in ("sort", "order", "hide", "constructor")}
    assert len(visit(site, SCRIPT + "return names();", query=query)) == 4


def test_a_long_board_shows_its_head_until_asked_for_all_and_searches_all(tmp_path: Path) -> None:
    for number in range(63):
        store_run(tmp_path / "results", model_entry(f"model-{number:03d}"), robustness=number / 100)
    build(tmp_path / "results", tmp_path / "site")
    script = """var head = [names().length, told()[0]];
      button("Rank").click();
      var tail = names();
      set("[type=search]", "model-01", "input");
      var searched = names().length;
      set("[type=search]", "", "input");
      button("Show all").click();
      return [head, tail.length, tail[0] < tail[24], searched, names().length, told(), button("Show all").hidden];"""
    seen = visit(tmp_path / "site", SCRIPT + script)
    assert seen[:5] == [[25, "25 of 63 models"], 25, True, 10, 63]
    assert seen[5][0] == "63 models"
    assert f"{BOARD}.rows=all" in seen[5][1]
    assert seen[6]


def test_images_of_one_class(site: Path) -> None:
    shown = """function shown() {
      var items = Array.from(document.querySelectorAll("[data-class]:not([hidden])"));
      return items.map(function (item) { return item.getAttribute("data-class"); });
    }"""
    script = 'var all = shown(); set("select", "automobile", "change"); return [all.sort(), shown(), location.search];'
    found = visit(site, SCRIPT + shown + script, page=f"images/{BOARD}.html")
    assert found == [["airplane", "automobile"], ["automobile"], "?images.Class=automobile"]
