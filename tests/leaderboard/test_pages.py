"""Pages are complete, safe and readable."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from bench import registry
from bench.core.schemas.records import Flag
from bench.core.storage.store import Store
from leaderboard.boards.attack_results import Definition
from leaderboard.boards.standings import boards
from leaderboard.build import build
from leaderboard.pages import render as pages
from leaderboard.records.command import command
from tests.support.factories import model_entry, store_run
from tests.support.pages import IMAGES, Page

Changes = dict[str, object]
HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'{{ 7 }}\u202egnp"
"""Markup, an event handler, quotes, template code and a right-to-left mark in 80 characters."""


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


def test_the_command_reproduces_the_run(tmp_path: Path) -> None:
    partial = {"samples": {"sha256": "0" * 64, "count": 30, "of": 40}}
    run = store_run(tmp_path, spec_changes=partial)
    assert command(run.record) == (
        "bench run --model hub:art-wrn28 --attack ifia-topk --protocol cifar10-linf8-v1 --limit 30"
    )


def test_the_command_names_the_parameters_of_an_attack_off_the_protocol(tmp_path: Path) -> None:
    attack = {"name": "ifia-topk", "version": 1, "params": {"step_size": "1/255", "steps": 7}}
    run = store_run(tmp_path, spec_changes={"attack": attack, "on_protocol": False})
    assert command(run.record).endswith("--set step_size=1/255 --set steps=7")


def test_the_pages_explain_every_flag(site: Path) -> None:
    text = Page(site / "about.html").text
    remedies = {name: registry.load("flags", name).remedy.replace("`", "") for name in registry.names("flags")}
    assert [name for name, remedy in remedies.items() if name not in text or remedy not in text] == []


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
