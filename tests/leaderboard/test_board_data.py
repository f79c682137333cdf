"""What the site offers to machines, and the same in the terminal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner

from bench.cli import bench
from bench.core.schemas.records import Confirmation
from bench.core.storage.files import sha256_of
from bench.core.storage.store import Store
from leaderboard.boards.standings import boards
from leaderboard.build import build, exported
from leaderboard.data.croissant import FIELDS
from leaderboard.data.document import SCHEMA, LeaderboardData
from leaderboard.data.tables import STANDING_COLUMNS
from tests.support.factories import model_entry, store_run

KEY = "cifar10-linf8-v1"
REFERENCE = ("natural", "pgd")
WINNERS = ["ifia-topk"] * 20 + ["cosine"] * 15 + [None] * 5


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "results"
    spec = {"protocol_reference": REFERENCE}
    for name, robustness in (("natural", 0.2), ("pgd", 0.5), ("art", 0.7)):
        columns = {"winner": WINNERS}
        store_run(root, model_entry(name), "auto", robustness=robustness, spec_changes=spec, columns=columns)
        store_run(root, model_entry(name), "random-noise", robustness=robustness + 0.2, spec_changes=spec)
    for epsilon, robustness in ((2, 0.9), (16, 0.4)):
        threat = {"norm": "linf", "epsilon": f"{epsilon}/255"}
        swept = spec | {"on_protocol": False, "threat": threat}
        store_run(root, model_entry("art"), "auto", robustness=robustness, spec_changes=swept)
    return root


@pytest.fixture(scope="module")
def site(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "site"
    build(results, out, "https://example.org/board/")
    return out


def read(site: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((site / "data" / name).read_text())
    return content


def test_the_whole_board_is_one_file_of_a_named_schema(site: Path, results: Path) -> None:
    content = read(site, "leaderboard.json")
    assert content["schema_version"] == SCHEMA
    parsed = LeaderboardData.model_validate(content)
    assert len(parsed.runs) == len(list(Store(results).runs()))
    assert [standing.model for standing in parsed.boards[0].standings] == ["art", "pgd", "natural"]
    assert set(parsed.boards[0].standings[0].scores) == {"common", "correct", "all"}
    schema = read(site, "schema.json")
    assert set(schema["required"]) == set(content)
    assert set(schema["properties"]) == set(content)


def test_the_data_package_names_every_table_and_its_columns(site: Path) -> None:
    package = read(site, "datapackage.json")
    resources = {one["name"]: one for one in package["resources"]}
    assert set(resources) == {"standings", "pairs", "attacks", "leaderboard", "rows"}
    for resource in resources.values():
        paths = resource["path"] if isinstance(resource["path"], list) else [resource["path"]]
        named = {field["name"] for field in resource["schema"]["fields"]}
        for path in paths:
            assert named <= set(pd.read_csv(site / "data" / path, nrows=1).columns)
    assert list(pd.read_csv(site / "data/standings.csv").columns) == list(STANDING_COLUMNS)


def test_the_standings_are_the_numbers_of_the_page(site: Path) -> None:
    table, page = pd.read_csv(site / "data/standings.csv"), (site / "index.html").read_text()
    assert len(table) == 3
    for line in table.to_dict("records"):
        link = f'models/{line["model"]}.html">'
        before, after = page.split(link, 1)
        shown = re.sub(r"<[^>]*>", "", after.split("</tr>")[0])
        assert f"{line['score']:.3f} [{line['low']:.3f}, {line['high']:.3f}]" in shown
        assert f"n {line['n']}" in shown
        assert f"{100 * line['clean_accuracy']:.1f} %" in shown
        rank = "\N{EN DASH}".join(map(str, sorted({line["rank_low"], line["rank_high"]})))
        assert f'class="rank">{rank}<' in before.rsplit("<tr", 1)[1]


def test_the_documented_files_and_example_are_true(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (Path(__file__).parent.parent.parent / "docs/data.md").read_text()
    named = {name for line in text.splitlines() if line.startswith("| `") for name in re.findall(r"`([^`]+)`", line)}
    written = {path.relative_to(site / "data").as_posix() for path in (site / "data").rglob("*") if path.is_file()}
    known = {re.sub(r"^rows/\w+", "rows/<run>", name.replace(KEY, "<protocol>")) for name in written}
    assert named == known
    (example,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(site.parent)
    names: dict[str, object] = {}
    exec(example, names)
    board = LeaderboardData.model_validate(names["board"])
    assert names["mean"] == pytest.approx(board.boards[0].standings[0].scores["correct"].mean)


def test_croissant_describes_the_sample_table_to_the_byte(site: Path, results: Path) -> None:
    described, content = read(site, f"{KEY}-croissant.json"), (site / f"data/{KEY}-samples.csv").read_bytes()
    (file,), (records,) = described["distribution"], described["recordSet"]
    assert (file["sha256"], file["contentSize"]) == (sha256_of(content), f"{len(content)} B")
    table = pd.read_csv(site / f"data/{KEY}-samples.csv")
    columns = [field["source"]["extract"]["column"] for field in records["field"]]
    assert columns == list(table.columns) == list(FIELDS)
    assert all(field["source"]["fileObject"]["@id"] == file["@id"] == file["contentUrl"] for field in records["field"])
    assert described["conformsTo"] == "http://mlcommons.org/croissant/1.0"
    assert {"name", "description", "license", "url", "datePublished", "citeAs", "version"} <= set(described)
    board = boards(Store(results).runs())[0]
    assert board.reference is not None
    assert set(table.loc[table["common"], "sample_id"]) == board.reference.ids
    assert (table["dataset"] + "/" + table["split"] + "/" + table["index"].astype(str) == table["sample_id"]).all()


def test_the_feed_tells_what_was_evaluated_with_absolute_links(site: Path, results: Path, tmp_path: Path) -> None:
    content = read(site, "feed.json")
    items: list[dict[str, str]] = content["items"]
    assert content["version"] == "https://jsonfeed.org/version/1.1"
    assert {item["title"] for item in items} == {f"{name} under {KEY}" for name in ("natural", "pgd", "art")}
    assert len({item["id"] for item in items}) == len(items)
    for item in items:
        assert item["url"].startswith("https://example.org/board/models/")
        assert (site / item["url"].removeprefix("https://example.org/board/").split("#")[0]).is_file()
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", item["date_published"])
    build(results, tmp_path / "site")
    assert "url" not in json.loads((tmp_path / "site/data/feed.json").read_text())["items"][0]


def test_the_suite_s_page_counts_its_members_from_the_rows(site: Path) -> None:
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", (site / "attacks/auto.html").read_text()))
    assert "ifia-topk cosine art 20 57.1 % 15 42.9 %" in page
    assert "all models 60 57.1 % 45 42.9 %" in page
    assert "Which member" not in (site / "attacks/random-noise.html").read_text()


def test_the_plots_show_robustness_against_the_swept_value(site: Path) -> None:
    page = (site / f"plots/{KEY}.html").read_text()
    (label,) = re.findall(r'aria-label="(kendall under auto against [^"]*)"', page)
    assert re.search(r"art 2: 0\.[89]\d\d, 8: 0\.\d+, 16: 0\.[34]\d\d\.$", label)


def test_the_model_s_page_lists_its_history(site: Path, results: Path, tmp_path: Path) -> None:
    page = (site / "models/art.html").read_text()
    start = page.index("Every run, the newest first")
    table = page[start : page.index("</table>", start)]
    assert table.count("<tr>") == 1 + 4
    assert table.count("<td>yes</td>") == 2


@pytest.mark.parametrize(
    "name", ["standings.csv", "pairs.csv", "attacks.csv", "leaderboard.csv", "leaderboard.json", f"{KEY}.tex"]
)
def test_export_is_the_site_s_file(site: Path, results: Path, name: str) -> None:
    assert exported(results, name) == (site / "data" / name).read_bytes()


def test_export_cite_and_compare_in_the_terminal(site: Path, results: Path, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        done = CliRunner().invoke(bench, [*words, "--results", str(results)], catch_exceptions=False)
        assert done.exit_code == 0
        return done.stdout

    run("export", "pairs.csv", "--out", str(tmp_path / "pairs.csv"))
    assert (tmp_path / "pairs.csv").read_bytes() == (site / "data/pairs.csv").read_bytes()
    assert run("cite") == (site / "data/models.bib").read_text()
    assert run("cite", "natural-wrn28").startswith("@inproceedings{")
    assert run("cite", "natural-linear").strip() == ""
    shown = run("compare", "art", "pgd", "natural")
    assert all(f"{one} over {other}" in shown for one, other in (("art", "pgd"), ("pgd", "natural")))
    pairs = pd.read_csv(site / "data/pairs.csv").set_index(["model", "other"])
    for pair in json.loads(run("compare", "art", "pgd", "natural", "--json")):
        assert pair["lead"] == pytest.approx(pairs.loc[(pair["model"], pair["other"]), "difference"], abs=1e-8)


@pytest.mark.parametrize("words", [["compare", "art"], ["compare", "art", "nobody"], ["export", "nothing.csv"]])
def test_words_that_mean_nothing_are_usage_errors(results: Path, words: list[str]) -> None:
    done = CliRunner().invoke(bench, [*words, "--results", str(results)])
    assert getattr(done.exception, "exit_code", None) == 2


def test_a_confirmed_run_has_a_badge_and_an_item_of_the_feed(results: Path, tmp_path: Path) -> None:
    run = store_run(tmp_path / "results", model_entry("one"))
    store_run(tmp_path / "results", model_entry("two"))
    note = Confirmation(
        run_id=run.record.run_id, rows_sha256=run.record.rows_sha256, again_sha256="b" * 64, images=40,
        mean_difference=0.0012, largest_difference=0.3, environment=run.record.environment,
    )  # fmt: skip
    run.confirmation_path.write_text(note.model_dump_json())
    build(tmp_path / "results", tmp_path / "site")
    table = pd.read_csv(tmp_path / "site/data/standings.csv").set_index("model")
    assert table["confirmed"].to_dict() == {"one": True, "two": False}
    assert (tmp_path / "site/index.html").read_text().count(">re-verified<") == 1
    assert "0.0012" in (tmp_path / "site/models/one.html").read_text()
    items = json.loads((tmp_path / "site/data/feed.json").read_text())["items"]
    assert sum("confirmed" in item["title"] for item in items) == 1
