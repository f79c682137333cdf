"""The pages and tables that a folder of records becomes."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from bench import registry
from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.records import TOP_K_CODES, Flag
from bench.core.storage.store import Store, StoredRun
from leaderboard.boards.attack_results import Definition
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.drawing import tiles
from leaderboard.drawing.colormap import INFERNO
from leaderboard.drawing.exhibit import MODELS, find_exhibit, gallery
from leaderboard.drawing.strips import SAID_IN_WORDS, strips
from leaderboard.pages import render as pages
from leaderboard.records.rows import RUN_COLUMNS, SAMPLE_COLUMNS, read_rows
from tests.support.factories import METRICS, K, model_entry, run_spec, store_run

Changes = dict[str, object]
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{ 7 }}\u202egnp"
"""Markup, an event handler, quotes, template code and a right-to-left mark in 80 characters."""
IMAGES = [np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8) for seed in range(7)]


class Page(HTMLParser):
    """What a test wants to know of a page."""

    VOID = frozenset({"meta", "input", "link", "img", "rect", "path", "line", "br"})

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))
        assert self.open == [], f"{path} leaves {self.open} open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, attribute: str, *tags: str) -> list[str]:
        return [attrs[attribute] for tag, attrs in self.tags if attribute in attrs and (not tags or tag in tags)]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("records") / "results"
    for name, robustness in (("natural-wrn28", 0.2), ("art-wrn28", 0.7)):
        for attack, gain in (("ifia-topk", 0.0), ("random-noise", 0.15)):
            store_run(root, model_entry(name), attack, robustness=robustness + gain, showcase=IMAGES)
    store_run(root, model_entry("natural-wrn28"), showcase=IMAGES, spec_changes={"protocol": "cifar10-smoke"})
    store_run(
        root, model_entry("pgd-wrn28", accuracy=None), flags=(Flag(name="weaker-than-random", detail="so it is"),)
    )
    return root


@pytest.fixture(scope="module")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "site"
    build(results, out)
    return out


def all_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_records_same_bytes(results: Path, site: Path, tmp_path: Path) -> None:
    report = build(results, tmp_path / "again")
    assert all_files(tmp_path / "again") == all_files(site)
    assert (report.protocols, report.models, report.runs, report.files) == (2, 3, 6, len(all_files(site)))


@pytest.mark.parametrize("processes", [2, 5])
def test_any_number_of_processes_writes_the_same_bytes(
    processes: int, results: Path, site: Path, tmp_path: Path
) -> None:
    build(results, tmp_path / "again", processes=processes)
    assert all_files(tmp_path / "again") == all_files(site)


def test_every_reference_leads_to_a_file_of_the_site(site: Path) -> None:
    checked = 0
    for path in site.rglob("*.html"):
        page = Page(path)
        for target in [*page.values("href"), *page.values("src")]:
            parts = urlsplit(target)
            if parts.scheme:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert file.is_file(), f"{path} refers to {target}"
            if parts.fragment:
                assert parts.fragment in Page(file).values("id"), f"{path} refers to {target}"
            checked += 1
    assert checked > 100


def test_pages_load_nothing_from_elsewhere_and_run_no_inline_code(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = Page(path)
        loaded = [*page.values("src"), *page.values("href", "link", "image")]
        assert loaded
        assert not any(urlsplit(url).scheme or url.startswith("//") for url in loaded)
        assert "http" not in (site / "static/style.css").read_text() + (site / "static/board.js").read_text()
        (policy,) = (a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert not page.values("style")
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
        assert all("src" in attrs for tag, attrs in page.tags if tag == "script")


def test_pages_tell_screen_readers_what_eyes_see(site: Path) -> None:
    kinds = {path.parent.name for path in site.rglob("*.html")}
    assert kinds >= {"models", "attacks", "plots", "images", "site", "cifar10-linf8-v1"}
    for path in site.rglob("*.html"):
        page = Page(path)
        ids, tags = page.values("id"), [tag for tag, _ in page.tags]
        assert len(set(ids)) == len(ids), f"{path} names two things alike"
        assert tags.count("table") == tags.count("caption")
        assert tags.count("h1") == 1
        levels = [int(tag[1]) for tag in tags if re.fullmatch(r"h[1-6]", tag)]
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), f"{path} skips a heading"
        for tag, attributes in page.tags:
            if tag == "th":
                assert attributes["scope"] in {"col", "row", "colgroup"}
            if tag == "svg":
                spoken = attributes.get("role") == "img" and attributes["aria-label"].strip()
                assert spoken or attributes.get("aria-hidden") == "true", f"a drawing of {path} is silent"
            if "tabindex" in attributes:
                assert attributes["role"] == "region"
                assert attributes["aria-label"]


def test_the_board_ranks_by_the_worst_case_and_marks_what_it_cannot_compare(results: Path) -> None:
    board, smoke = boards(Store(results).runs())
    assert (board.protocol.key, smoke.protocol.key) == ("cifar10-linf8-v1", "cifar10-smoke-v1")
    assert [(s.entry.name, s.rank, s.strongest) for s in board.standings] == [
        ("art-wrn28", 1, "ifia-topk"),
        ("natural-wrn28", 2, "ifia-topk"),
        ("pgd-wrn28", None, "ifia-topk"),
    ]
    assert board.standings[2].remarks == ("random-noise: not run",)
    assert [s.rank for s in smoke.standings] == [None]
    assert board.attacks == ("ifia-topk", "random-noise")
    assert board.metrics == ("kendall", "topk-intersection")


@pytest.mark.parametrize(
    "changes", [{"samples": {"sha256": "0" * 64, "count": 30, "of": 40}}, {"on_protocol": False}, {"engine": 0}]
)
def test_a_run_off_the_protocol_neither_ranks_nor_displaces_one_on_it(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    fair = store_run(tmp_path, model_entry("one"), robustness=0.3)
    store_run(tmp_path, model_entry("one"), robustness=0.9, spec_changes=changes)
    store_run(tmp_path, model_entry("two"), robustness=0.9, spec_changes=changes)
    (board,) = boards(Store(tmp_path).runs())
    assert [(s.entry.name, s.rank) for s in board.by_name.values()] == [("one", 1), ("two", None)]
    assert board.standings[0].runs["ifia-topk"] == fair
    assert [len(standing.remarks) for standing in board.aside] == [1]


def test_equally_partial_runs_are_ordered_and_the_page_says_why_they_are_not_ranked(tmp_path: Path) -> None:
    partial = {"samples": {"sha256": "0" * 64, "count": 20, "of": 40}}
    for name, robustness in (("low", 0.2), ("high", 0.8), ("noise-only", 0.9)):
        for attack in ("ifia-topk", "random-noise")[name == "noise-only" :]:
            store_run(tmp_path / "results", model_entry(name), attack, robustness=robustness, spec_changes=partial)
    (board,) = boards(Store(tmp_path / "results").runs())
    assert board.excused == ("20 of 40 images",)
    assert not board.ranks
    assert [(s.entry.name, s.rank, s.remarks) for s in board.standings] == [
        ("high", None, ()),
        ("low", None, ()),
        ("noise-only", None, ("ifia-topk: not run",)),
    ]
    build(tmp_path / "results", tmp_path / "site")
    assert "No ranks yet. The runs are partial: 20 of 40 images." in Page(tmp_path / "site/index.html").text
    store_run(tmp_path / "results", model_entry("whole"), robustness=0.1)
    (board,) = boards(Store(tmp_path / "results").runs())
    assert (board.standings[0].entry.name, board.standings[0].rank) == ("whole", 1)
    assert {s.entry.name: (s.rank, *s.remarks) for s in board.aside} == {
        "high": (None, "ifia-topk: 20 of 40 images"),
        "low": (None, "ifia-topk: 20 of 40 images"),
        "noise-only": (None, "ifia-topk: not run"),
    }


def test_where_lower_is_more_robust_the_lowest_worst_case_leads(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        for attack in ("ifia-topk", "calm"):
            spec = {"primary_metric": "mass-center-shift", "protocol_floor": "calm"}
            store_run(tmp_path / "results", model_entry(name), attack, spec_changes=spec, showcase=IMAGES)
    (board,) = boards(Store(tmp_path / "results").runs())
    assert board.attacks == ("ifia-topk", "calm")
    worst = [standing.score.mean for standing in board.standings if standing.score and standing.score.mean]
    assert worst == sorted(worst)
    for standing in board.standings:
        found = {attack: standing.summary(attack, "mass-center-shift") for attack in standing.runs}
        means = {attack: summary.mean for attack, summary in found.items() if summary and summary.mean is not None}
        assert means.keys() == standing.runs.keys()
        assert standing.strongest == max(means, key=lambda attack: means[attack])
    run = board.standings[0].runs["calm"]
    numbers = [strip.numbers["mass-center-shift"] for strip in strips(run, read_rows)]
    shifts = [number for number in numbers if number is not None]
    assert len(shifts) == len(numbers) > 1
    assert shifts == sorted(shifts, reverse=True)
    build(tmp_path / "results", tmp_path / "site")
    page = Page(tmp_path / "site/index.html")
    assert "lower is more robust" in page.text
    assert "calmmass-center-shift; the floor" in page.text


def test_the_newest_weights_of_a_name_are_on_the_board(tmp_path: Path) -> None:
    old = model_entry("one", added="2025-01-01", weights={"file": "a.safetensors", "sha256": "a" * 64, "size": 1})
    store_run(tmp_path / "results", old, robustness=0.9)
    store_run(tmp_path / "results", model_entry("one"), robustness=0.3)
    (board,) = boards(Store(tmp_path / "results").runs())
    assert [s.weights_sha256 for s in board.standings] == [model_entry("one").weights.sha256]
    build(tmp_path / "results", tmp_path / "site")
    assert "earlier weights aaaaaaaa" in Page(tmp_path / "site/models/one.html").text


def test_a_protocol_that_does_not_rank_is_called_that_and_no_more(site: Path) -> None:
    text = " ".join(Page(site / "index.html").text.split())
    assert "cifar10-smoke-v1 reported, not ranked" in text
    assert "No ranks. This protocol reports numbers, but does not rank models; bench show cifar10-smoke-v1 says" in text


def test_tables_equal_the_pages_and_the_records(results: Path, site: Path) -> None:
    table = pd.read_csv(site / "data/leaderboard.csv")
    assert list(table.columns) == list(RUN_COLUMNS)
    index = Page(site / "index.html")
    shown = table[(table["sample_set"] == "correct") & (table["metric"] == "kendall")]
    for line in shown.itertuples():
        assert f"{line.mean:.3f} [{line.low:.3f}, {line.high:.3f}]" in index.text
    board = json.loads((site / "data/leaderboard.json").read_text())
    runs = {run["run_id"]: run for run in board["runs"]}
    for line in table.itertuples():
        mean = runs[line.run_id]["summaries"][line.sample_set][line.metric]["mean"]
        assert line.mean == pytest.approx(mean, rel=1e-12)
    for run in Store(results).runs():
        rows = pd.read_csv(site / f"data/rows/{run.record.run_id[:12]}.csv")
        pd.testing.assert_frame_equal(rows, run.rows(), rtol=1e-12, check_dtype=False)
        assert list(rows.columns[: len(SAMPLE_COLUMNS)]) == list(SAMPLE_COLUMNS)


def test_hostile_fields_leave_the_pages_intact(tmp_path: Path) -> None:
    long = "W" * 10_000
    entry = model_entry(
        title=HOSTILE,
        license=HOSTILE,
        citation=HOSTILE * 40,
        training={"method": HOSTILE, "hardware": HOSTILE, "differs": HOSTILE},
    )
    store_run(
        tmp_path / "results",
        entry,
        flags=(Flag(name="odd", detail=HOSTILE + long),),
        record_changes={"classes": (HOSTILE,) * 10},
        showcase=IMAGES,
    )
    store_run(tmp_path / "results", model_entry("other"), robustness=0.4, showcase=IMAGES)
    build(tmp_path / "results", tmp_path / "site")
    for path in (tmp_path / "site").rglob("*.html"):
        page = Page(path)
        assert {Path(src).name for src in page.values("src", "script")} <= {"board.js", "duel.js"}
        assert not page.values("onerror")
        assert not page.values("src", "img")
        assert all(Path(src).suffix == ".png" for src in page.values("href", "image"))
    text = Page(tmp_path / "site/models/art-wrn28.html").text
    assert HOSTILE in text
    assert long in text
    assert HOSTILE in Page(tmp_path / "site/compare/cifar10-linf8-v1/art-wrn28--other.html").text


def test_a_link_is_a_web_link_or_no_link(tmp_path: Path) -> None:
    script = "javascript:alert(3)"
    with pytest.raises(ValueError, match="expected a link"):
        model_entry(source=script)
    (tmp_path / "page.html").write_text(
        pages.model_page(model_entry().model_copy(update={"source": script}), [], set())
    )
    page = Page(tmp_path / "page.html")
    assert script in page.text
    assert not [href for href in page.values("href") if href.startswith("javascript")]


def test_a_run_without_showcase_says_so(tmp_path: Path) -> None:
    store_run(tmp_path / "results")
    build(tmp_path / "results", tmp_path / "site")
    assert "kept no showcase" in Page(tmp_path / "site/models/art-wrn28.html").text
    assert not (tmp_path / "site/images").exists()


def test_strips_count_order_and_describe(results: Path) -> None:
    run = next(run for run in Store(results).runs() if run.record.showcase)
    rows = read_rows(run)
    made = strips(run, read_rows)
    kendall = rows.set_index("sample_id")["kendall"][[strip.sample_id for strip in made]]
    assert kendall.is_monotonic_increasing or (kendall[:-1].is_monotonic_increasing and np.isnan(kendall.iloc[-1]))
    for strip in made:
        counts = [int(n) for n in re.findall(r"(\d+) (?:kept|lost|gained)", strip.tiles[-1].caption)]
        assert counts[0] + counts[1] == K == counts[0] + counts[2]
        assert strip.label in strip.tiles[0].alt
    infeasible = next(strip for strip in made if strip.sample_id == "cifar10/test/1")
    assert any("infeasible" in remark for remark in infeasible.remarks)


def test_a_strip_of_a_suite_keeps_the_numbers_of_other_images_apart(tmp_path: Path) -> None:
    suite = store_run(tmp_path / "results", attack="auto", showcase=IMAGES, columns={"winner": "kendall"})
    single = store_run(tmp_path / "results", showcase=IMAGES)
    assert not any(strip.elsewhere for strip in strips(single, read_rows))
    (strip, *_) = strips(suite, read_rows)
    assert set(strip.numbers) == {"kendall"}
    assert set(strip.elsewhere) == set(METRICS) - SAID_IN_WORDS - {"kendall"}
    assert "topk" not in "".join(tile.alt for tile in strip.tiles)
    build(tmp_path / "results", tmp_path / "site")
    page = (tmp_path / "site/models/art-wrn28.html").read_text()
    assert page.count("It may come from another image than the one shown") == len(IMAGES)


def test_a_strip_of_a_series_has_the_numbers_of_its_last_level(tmp_path: Path) -> None:
    levels = {"kendall@0.25": 0.75, "kendall@1024": 0.125}
    run = store_run(tmp_path, attack="saturation", showcase=IMAGES, columns=levels)
    assert {strip.numbers["kendall"] for strip in strips(run, read_rows)} == {0.125}


def test_the_exhibit_shows_one_image_under_the_first_models_of_the_board(tmp_path: Path) -> None:
    for number in range(MODELS + 1):
        store_run(tmp_path, model_entry(f"model-{number}"), robustness=number / 10, showcase=IMAGES)
    (board,) = boards(Store(tmp_path).runs())
    exhibit = find_exhibit([board], read_rows)
    assert exhibit is not None
    assert [piece.model for piece in exhibit.pieces] == [s.entry.name for s in board.standings][:MODELS]
    assert {piece.strip.sample_id for piece in exhibit.pieces} == {exhibit.sample_id}
    assert exhibit.sample_id != "cifar10/test/1", "an attack had to spare it"
    shown = gallery(board, read_rows)
    assert {image.sample_id for image in shown} == {f"cifar10/test/{index}" for index in range(len(IMAGES))}
    means = [np.mean([piece.strip.numbers["kendall"] for piece in image.pieces]) for image in shown[:-1]]
    assert means == sorted(means)
    assert shown[-1].sample_id == "cifar10/test/0", "its metric is undefined"


def test_marks_differ_in_shape_and_the_perturbation_is_magnified() -> None:
    codes = np.array(list(TOP_K_CODES.values()), dtype=np.uint8).reshape(1, 2, 2, 1).repeat(3, axis=3)
    (drawn,) = tiles.marks(codes, np.zeros((1, 2, 2, 3), np.uint8))
    half = drawn.shape[0] // 2
    shapes = {
        mark: (drawn[y : y + half, x : x + half] == tiles.MARK_COLORS[mark]).all(-1)
        for mark, (y, x) in {"kept": (0, half), "lost": (half, 0), "gained": (half, half)}.items()
    }
    assert len({shape.tobytes() for shape in shapes.values()}) == 3
    assert all(shape.any() for shape in shapes.values())
    assert not (drawn[:half, :half] > 120).any()
    before = np.full((2, 2, 3), 100, np.uint8)
    assert (tiles.magnified_perturbation(before, before + 8) == 208).all()
    assert (tiles.magnified_perturbation(before, before - 20) == 0).all()


def test_every_box_of_the_sprite_holds_its_picture(results: Path, site: Path) -> None:
    run = next(run for run in Store(results).runs() if run.record.showcase)
    made = strips(run, read_rows)
    sheet = np.asarray(Image.open(site / "images" / made[0].tiles[0].file))
    assert sheet.shape[:2] == made[0].tiles[0].size[::-1]
    for strip in made:
        index = int(strip.sample_id.rsplit("/", 1)[1])
        shown = {tile.picture: sheet[y : y + h, x : x + w] for tile in strip.tiles for x, y, w, h in [tile.box]}
        assert (shown["original"] == IMAGES[index]).all()
        assert (shown["perturbation"] == tiles.magnified_perturbation(shown["original"], shown["perturbed"])).all()
        kept = (shown["marks"] == tiles.MARK_COLORS["kept"]).all(-1).sum()
        assert kept / 49 == int(strip.tiles[-1].caption.split(" ")[0])


def test_the_colour_map_grows_in_lightness() -> None:
    lightness = INFERNO.astype(float) @ (0.2126, 0.7152, 0.0722)
    assert (np.diff(lightness) > -0.5).all()
    assert lightness[-1] - lightness[0] > 200


@pytest.mark.parametrize("damage", ["rows", "missing rows", "showcase", "record", "mean", "tiles"])
def test_damage_is_an_integrity_error_and_leaves_the_site_alone(tmp_path: Path, damage: str) -> None:
    results, out = tmp_path / "results", tmp_path / "site"
    run = store_run(results, showcase=IMAGES)
    build(results, out)
    before = all_files(out)
    if damage == "rows":
        run.rows_path.write_bytes(run.rows_path.read_bytes()[:-1])
    elif damage == "missing rows":
        run.rows_path.unlink()
    elif damage == "showcase":
        run.showcase_path.write_bytes(b"no png")
    elif damage == "record":
        run.path.write_text(run.path.read_text().replace('"seed":0', '"seed":1'))
    elif damage == "mean":
        mean = run.record.summaries["correct"]["kendall"].mean
        run.path.write_text(run.path.read_text().replace(f'"mean":{mean}', '"mean":0.99'))
    else:
        store_run(results, showcase=IMAGES, record_changes={"showcase": ("cifar10/test/0",) * 6})
    with pytest.raises(IntegrityError, match=r"^expected "):
        build(results, out)
    assert all_files(out) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_two_contents_of_one_protocol_are_never_mixed(tmp_path: Path) -> None:
    store_run(tmp_path)
    protocol = run_spec(model_entry()).protocol.model_copy(update={"sha256": "0" * 64})
    spec = run_spec(model_entry("two")).model_copy(update={"protocol": protocol})
    store_run(tmp_path, model_entry("two"), record_changes={"spec": spec, "run_id": spec.run_id})
    with pytest.raises(IntegrityError, match="two"):
        build(tmp_path, tmp_path.parent / "site")


def test_nothing_to_show_and_nowhere_to_write(results: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="bench run"):
        build(tmp_path / "absent", tmp_path / "site")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="bench run"):
        build(tmp_path / "empty", tmp_path / "site")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="other files"):
        build(results, tmp_path / "other")
    assert all_files(tmp_path / "other") == {"thesis.txt": b"mine"}


def test_a_build_reads_the_rows_of_each_run_once(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, whole = Counter[Path](), StoredRun.table

    def counted(run: StoredRun, columns: list[str] | None = None) -> pa.Table:
        read[run.rows_path] += 1
        return whole(run, columns)

    monkeypatch.setattr(StoredRun, "table", counted)
    build(results, tmp_path / "site")
    assert read == {run.rows_path: 1 for run in Store(results).runs()}


def test_a_rebuild_removes_what_is_gone_and_nothing_else(tmp_path: Path) -> None:
    store_run(tmp_path / "a", model_entry("one"), showcase=IMAGES)
    store_run(tmp_path / "b", model_entry("two"))
    build(tmp_path / "a", tmp_path / "site")
    (tmp_path / "site/CNAME").write_text("mine")
    build(tmp_path / "b", tmp_path / "site")
    build(tmp_path / "b", tmp_path / "fresh")
    assert all_files(tmp_path / "site") == all_files(tmp_path / "fresh") | {"CNAME": b"mine"}


def test_the_command_reproduces_the_run(tmp_path: Path) -> None:
    partial = {"samples": {"sha256": "0" * 64, "count": 30, "of": 40}}
    run = store_run(tmp_path, spec_changes=partial)
    assert pages.command(run.record) == (
        "bench run --model hub:art-wrn28 --attack ifia-topk --protocol cifar10-linf8-v1 --limit 30"
    )


def test_the_command_names_the_parameters_of_an_attack_off_the_protocol(tmp_path: Path) -> None:
    attack = {"name": "ifia-topk", "version": 1, "params": {"step_size": "1/255", "steps": 7}}
    run = store_run(tmp_path, spec_changes={"attack": attack, "on_protocol": False})
    assert pages.command(run.record).endswith("--set step_size=1/255 --set steps=7")


def test_a_model_s_page_says_where_the_model_stands(site: Path) -> None:
    text = " ".join(Page(site / "models/natural-wrn28.html").text.split())
    assert re.search(r"Rank 2 of 2, tie group 2; kendall 0\.\d+ \[.*\] under ifia-topk, its strongest attack", text)
    assert "Not ranked: random-noise: not run." in Page(site / "models/pgd-wrn28.html").text


def test_a_model_that_answers_no_logits_has_no_rank(tmp_path: Path) -> None:
    squashed = Flag(name="probabilities", detail="every answer sums to 1")
    for name, robustness, flags in (("honest", 0.3, ()), ("squashed", 0.9, (squashed,))):
        for attack in ("ifia-topk", "random-noise"):
            store_run(tmp_path, model_entry(name), attack, robustness=robustness, flags=flags)
    (board,) = boards(Store(tmp_path).runs())
    assert {s.entry.name: (s.rank, s.remarks) for s in board.standings} == {
        "honest": (1, ()),
        "squashed": (None, ("probabilities: every answer sums to 1",)),
    }


def test_the_pages_explain_every_flag(site: Path) -> None:
    text = Page(site / "about.html").text
    assert all(name in text and registry.load("flags", name).remedy in text for name in registry.names("flags"))


def test_an_attack_s_page_tells_what_its_parameters_mean(results: Path, tmp_path: Path) -> None:
    text = "Increase D\nby right-\nRiemann nodes.\n\nSource:\n    One,\n    two.\n    Differs: so."
    said = {"ifia-topk": Definition(text, {"steps": "Steps of <each> restart."})}
    build(results, tmp_path / "site", definitions=said)
    text = Page(tmp_path / "site/attacks/ifia-topk.html").text
    assert "Increase D by right-Riemann nodes.\n\nSource:\n    One, two.\n    Differs: so." in text
    assert "stepsSteps of <each> restart." in text
    assert "Its definition, its source and the meaning" in Page(tmp_path / "site/attacks/random-noise.html").text


def test_an_attack_s_page_tells_what_it_cost_and_found(results: Path, site: Path) -> None:
    page = Page(site / "attacks/ifia-topk.html")
    board = boards(Store(results).runs())[0]
    for standing in board.standings:
        run = standing.runs["ifia-topk"]
        assert f"run-{run.record.run_id[:12]}" in "".join(page.values("href", "a"))
        found, floor = standing.summary("ifia-topk", "kendall"), standing.floor("kendall")
        assert found is not None
        assert f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]" in page.text
        if floor is not None and floor.mean is not None and found.mean is not None:
            assert f"{floor.mean - found.mean:.3f}" in page.text
    seconds = run.record.environment.seconds / run.record.samples
    assert f"{seconds:.2f}" in page.text
    assert "Strongest attack of3 of 3 models" in page.text
    shown = [float(mean) for mean in re.findall(r"(0\.\d{3}) \[", page.text.split("Results of the attack")[1])]
    assert len(shown) == 3
    assert shown == sorted(shown, reverse=True), "in the order of what is shown, which need not be the board's"
    assert "Beyond the floor" not in Page(site / "attacks/random-noise.html").text
