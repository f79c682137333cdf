"""Every type of page in a browser.

Nothing is loaded from elsewhere, reading needs no script, and axe reports nothing.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.core.schemas.records import Flag
from leaderboard.build import build
from leaderboard.tracks.tracks import questions
from tests.browser.axe import AXE, SCRIPT
from tests.browser.chromium import visit, visit_all
from tests.support.factories import model_entry, store_run
from tests.support.study_pieces import file_piece
from tests.support.tracked import store_tracks

BOARD = "cifar10-linf8-v1"
REFERENCE = ("natural-wrn28", "pgd-wrn28")
ROBUSTNESS = {"natural-wrn28": 0.2, "pgd-wrn28": 0.5, "art-wrn28": 0.8}
IMAGES = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(3)]
PAGES = [
    "index.html",
    "about.html",
    "tracks.html",
    *(f"tracks/{track}.html" for track in questions()),
    "reproduction.html",
    "studies.html",
    "studies/made-up-v1.html",
    "compare.html",
    "models/art-wrn28.html",
    "attacks/auto.html",
    f"plots/{BOARD}.html",
    f"images/{BOARD}.html",
    f"compare/{BOARD}/art-wrn28--pgd-wrn28.html",
]
PHONE = 390
DARK = ("--blink-settings=preferredColorScheme=0",)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pages")
    spec: dict[str, Any] = {"protocol_reference": REFERENCE}
    for name, robustness in ROBUSTNESS.items():
        entry, flags = model_entry(name), (Flag(name="infeasible-share", detail="so"),)
        winners = {"winner": ["ifia-topk", "cosine"] * 20}
        store_run(root / "results", entry, "auto", robustness=robustness, spec_changes=spec, flags=flags,
                  showcase=IMAGES, columns=winners)  # fmt: skip
        for attack, gain in (("ifia-topk", 0.05), ("random-noise", 0.1)):
            store_run(root / "results", entry, attack, robustness=robustness + gain, spec_changes=spec)
        for epsilon in (4, 16):
            swept = spec | {"on_protocol": False, "threat": {"norm": "linf", "epsilon": f"{epsilon}/255"}}
            store_run(root / "results", entry, robustness=robustness + 0.5 / epsilon, spec_changes=swept)
    for seed in range(2):
        file_piece(root / "results", seed)
    control = model_entry("constant", control=True)
    store_run(root / "results", control, "auto", robustness=0.9, spec_changes=spec)
    store_run(root / "results", model_entry("digits", dataset="mnist"), spec_changes={"protocol": "mnist-smoke"})
    store_tracks(root / "results")
    build(root / "results", root / "site")
    return root / "site"


@pytest.mark.skipif(AXE is None, reason="no axe-core: `npm install axe-core` here, or BENCH_AXE names its folder")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("width", "options"), [(1280, ()), (PHONE, DARK)])
def test_axe_finds_nothing(site: Path, page: str, width: int, options: tuple[str, ...]) -> None:
    assert AXE is not None
    script = AXE.read_text(encoding="utf-8") + SCRIPT
    assert visit(site, script, page=page, width=width, options=options) == []


@pytest.mark.skipif(AXE is None, reason="no axe-core")
def test_axe_would_find_something_and_dark_is_dark(site: Path) -> None:
    assert AXE is not None
    planted = 'document.querySelector("main").append(document.createElement("input"));'
    assert [one.split(":")[0] for one in visit(site, AXE.read_text(encoding="utf-8") + planted + SCRIPT)] == ["label"]
    assert visit(site, 'return matchMedia("(prefers-color-scheme: dark)").matches;', options=DARK)


@pytest.fixture(scope="module")
def seen(site: Path) -> dict[tuple[str, int], Any]:
    """What the tests below ask of every page at both widths."""
    script = """return [document.documentElement.scrollWidth <= window.innerWidth,
      performance.getEntriesByType("resource").every(function (entry) { return entry.name.startsWith("file:"); }),
      Array.from(document.querySelectorAll(".scroll")).map(function (node) {
        var heads = Array.from(node.querySelectorAll("thead th:not(.pinned, :first-child), tr.primary td"));
        var opaque = heads.filter(function (cell) { return /^rgb\\(/.test(getComputedStyle(cell).backgroundColor); });
        return [node.scrollWidth > node.clientWidth, getComputedStyle(node).backgroundAttachment, opaque.length];
      })];"""
    return visit_all(site, script, [(page, width) for page in PAGES for width in (PHONE, 1280)])


@pytest.mark.parametrize("page", PAGES)
def test_nothing_is_wider_than_a_small_window_or_fetched_from_elsewhere(
    seen: dict[tuple[str, int], Any], page: str
) -> None:
    assert seen[page, PHONE][:2] == [True, True]


@pytest.mark.parametrize("width", [1280, PHONE])
@pytest.mark.parametrize("page", PAGES)
def test_a_table_that_is_cut_is_shaded_at_the_edge_beyond_which_it_goes_on(
    seen: dict[tuple[str, int], Any], page: str, width: int
) -> None:
    """Check that the shades at a table's edges can be seen.

    They are two covers that scroll along over two shades that stay, behind cells without a colour.
    """
    found = seen[page, width][2]
    assert all(rest == ["local, local, scroll, scroll", 0] for _, *rest in found)
    if page in ("index.html", "models/art-wrn28.html") and width == PHONE:
        assert any(cut for cut, *_ in found)


def without_scripts(site: Path, copy: Path) -> Path:
    """Copy a site, and take the scripts off the pages."""
    shutil.copytree(site, copy)
    for page in PAGES:
        whole = (site / page).read_text(encoding="utf-8")
        (copy / page).write_text(re.sub(r"<script.*?</script>", "", whole), encoding="utf-8")
    return copy


@pytest.fixture(scope="module")
def bare(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return without_scripts(site, tmp_path_factory.mktemp("bare") / "site")


@pytest.fixture(scope="module")
def seen_bare(bare: Path) -> dict[tuple[str, int], Any]:
    script = """return [document.querySelectorAll("button, input:not(.magnify), select").length,
      Array.from(document.querySelectorAll(".sortable")).map(function (table) { return table.tBodies[0].rows.length; }),
      Array.from(document.querySelectorAll("main table, main figure, main p")).filter(function (node) {
        return !node.offsetWidth && !node.closest("details:not([open]), [hidden], .of-perturbation"); }).length];"""
    return visit_all(bare, script, [(page, 1280) for page in PAGES])


@pytest.mark.parametrize("page", PAGES)
def test_pages_are_complete_without_their_scripts(seen_bare: dict[tuple[str, int], Any], page: str) -> None:
    controls, rows, unseen = seen_bare[page, 1280]
    assert (controls, unseen) == (0, 0)
    assert rows == ([4, 1] if page == "index.html" else [])


@pytest.mark.parametrize("page", ["models/art-wrn28.html", f"images/{BOARD}.html"])
def test_a_box_shows_the_perturbation_in_the_perturbed_image_s_place_without_a_script(bare: Path, page: str) -> None:
    script = """function shown() {
        return [".of-perturbed", ".of-perturbation"].map(function (name) {
          return Array.from(document.querySelectorAll(name)).filter(function (one) { return one.offsetWidth; }).length;
        });
      }
      var before = shown();
      document.querySelector("label.magnifier").click();
      return [before, shown()];"""
    before, after = visit(bare, script, page=page)
    assert before == after[::-1]
    assert before[0] >= len(IMAGES)
    assert before[1] == 0


def test_two_to_four_models_are_compared_on_the_images_they_share(site: Path) -> None:
    script = """return new Promise(function (resolve) { setTimeout(function () {
      var cells = Array.from(document.querySelectorAll(".duel-output tbody")[0].rows);
      resolve({ pairs: cells.map(function (row) { return row.cells[0].textContent; }),
        leads: cells.map(function (row) { return [1, 2].map(function (at) { return row.cells[at].textContent; }); }),
        strips: document.querySelectorAll("#duel-images .strip").length,
        told: document.querySelector(".duel-output .note").textContent }); }, 500); });"""
    query = {"compare.board": BOARD, "compare.models": "art-wrn28~pgd-wrn28~natural-wrn28"}
    seen = visit(site, script, page="compare.html", query=query)
    assert seen["pairs"] == [
        "art-wrn28 over pgd-wrn28",
        "art-wrn28 over natural-wrn28",
        "pgd-wrn28 over natural-wrn28",
    ]
    assert seen["strips"] == 3 * len(IMAGES)
    page = (site / f"compare/{BOARD}/art-wrn28--pgd-wrn28.html").read_text()
    lead = re.findall(r'Lead of art-wrn28</dt><dd><b class="big">([^<]*)</b> <small>([^<]*)</small>', page)[0]
    assert tuple(seen["leads"][0]) == lead, "the page made at build time says the same"
    assert "images of the reference set" in seen["told"]


def test_choosing_models_writes_the_address(site: Path) -> None:
    script = """return new Promise(function (resolve) { setTimeout(function () {
      var selects = document.querySelectorAll("#duel select");
      selects[2].value = "natural-wrn28";
      selects[2].dispatchEvent(new Event("change"));
      setTimeout(function () { resolve([location.search, document.querySelectorAll(".duel-output").length]); }, 300);
    }, 300); });"""
    address, outputs = visit(site, script, page="compare.html")
    assert address == f"?compare.board={BOARD}&compare.models=art-wrn28%7Enatural-wrn28"
    assert outputs == 1


def test_a_hostile_address_of_a_comparison_changes_nothing(site: Path) -> None:
    query = {"compare.board": "<img src=x onerror=alert(1)>", "compare.models": "../../x~<script>alert(1)</script>"}
    script = "return document.querySelectorAll('#duel select')[1].value;"
    assert visit(site, script, page="compare.html", query=query) == "art-wrn28"


def test_hostile_fields_run_nothing_and_break_no_layout(tmp_path: Path) -> None:
    hostile = "\"><script>document.title='owned'</script><img src=x onerror=document.title='owned'>'{{ 7 }}\u202egnp"
    long = hostile + "W" * 10_000
    training = {"method": hostile[:80], "hardware": hostile, "differs": long[:4000]}
    entry = model_entry("bad", title=long[:200], license=hostile[:100], citation=long[:4000], training=training)
    store_run(tmp_path / "results", entry, flags=(Flag(name="odd", detail=long),), showcase=IMAGES,
              record_changes={"classes": (hostile,) * 10})  # fmt: skip
    store_run(tmp_path / "results", model_entry("other"), robustness=0.4, showcase=IMAGES)
    build(tmp_path / "results", tmp_path / "site")
    script = """return [document.title.indexOf("owned"), document.querySelectorAll("main script, main img").length,
      document.documentElement.scrollWidth <= window.innerWidth];"""
    pages = ("index.html", "models/bad.html", "compare.html", f"compare/{BOARD}/bad--other.html")
    places = [(page, width) for page in pages for width in (PHONE, 1280)]
    assert visit_all(tmp_path / "site", script, places) == {place: [-1, 0, True] for place in places}


def test_boards_of_one_data_set_and_models_of_one_badge(site: Path) -> None:
    script = """function pick(label, value) {
        var labels = Array.from(document.querySelectorAll("label"));
        var select = labels.find(function (one) { return one.textContent.startsWith(label); }).querySelector("select");
        select.value = value;
        select.dispatchEvent(new Event("change"));
      }
      function texts(selector, of) { return Array.from(document.querySelectorAll(selector)).map(of); }
      pick("Badge", "control");
      var names = texts("#%s tbody tr th a:first-child", function (link) { return link.textContent; });
      pick("Data set", "mnist");
      var boards = texts(".board[data-class]:not([hidden])", function (board) { return board.id; });
      return [names[0], boards, location.search];"""
    assert visit(site, script % BOARD) == [
        "constant",
        ["mnist-smoke-v1"],
        f"?{BOARD}.Badge=control&boards.Data+set=mnist",
    ]
