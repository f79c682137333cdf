"""What the README states is what the repository holds."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from bench import cli, registry
from bench.core.storage.stored_run import read_run
from leaderboard.boards.board import Board
from leaderboard.boards.certainty import with_certainty
from leaderboard.boards.standings import boards
from leaderboard.data.markdown import tables
from leaderboard.records.rows import RowReader

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ATTACKS = ["auto", "ifia-topk", "random-noise"]


def test_its_table_is_the_one_of_the_records() -> None:
    first = tables(ROOT / "results", "cifar10-gradient-v1", metrics=["kendall"], attacks=ATTACKS, first=5)
    assert first.count("\n") == 2 + 2 + 5
    assert first in README


@pytest.mark.parametrize("document", ["results", "search"])
def test_the_tables_are_what_the_commands_above_them_print(document: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / f"docs/{document}.md").read_text()
    commands = re.findall(r"^```bash\nbench (.+?)\n```$", text, flags=re.MULTILINE | re.DOTALL)
    assert commands
    for command in commands:
        printed = CliRunner().invoke(cli.bench, shlex.split(command.replace("\\\n", " ")))
        assert printed.exit_code == 0, (command, printed.output)
        assert f"bench {command}\n```\n\n{printed.output.strip()}\n" in text, f"expected what `bench {command}` prints"


@cache
def certain_board(protocol: str) -> Board:
    """Return the board of the records, with the tests of its leads."""
    rows = RowReader()
    runs = [read_run(path) for path in sorted((ROOT / "results" / protocol).glob("*/*/*.json"))]
    (board,) = (with_certainty(each, rows) for each in boards(runs, rows.table))
    return board


@pytest.mark.parametrize(
    ("protocol", "model", "other", "difference", "said"),
    [
        ("cifar10-ig-v2", "art-wrn28", "ig-sum-norm-wrn28", 0.015, "p is\n0.21"),
        ("cifar10-ig-v2", "art-wrn28", "pgd-wrn28", 0.049, "ART by 0.049 [0.033, 0.064], p < 0.001"),
        ("cifar10-gradient-v1", "ig-sum-norm-wrn28", "art-wrn28", 0.057, "IG-SUM-Norm leads (p < 0.001)"),
        ("cifar10-gradient-v1", "art-wrn28", "pgd-wrn28", 0.003, "tied (p = 1.00)"),
        ("cifar10-gradient-v1", "art-wrn28", "art-long-wrn28", 0.019, "no difference after Holm's correction"),
    ],
)
def test_its_words_about_leads_follow_the_corrected_tests(
    protocol: str, model: str, other: str, difference: float, said: str
) -> None:
    """A lead is one only if it stays significant after Holm's correction."""
    board = certain_board(protocol)
    assert board.pairs is not None
    place = (board.pairs.models.index(model), board.pairs.models.index(other))
    assert board.pairs.differences.mean[place] == pytest.approx(difference, abs=5e-4)
    p = board.pairs.differences.p_holm[place]
    assert said in (ROOT / "docs/results.md").read_text()
    if "no difference" in said:
        assert p > 0.05
    else:
        assert p < 0.001 if "<" in said else f"{p:.2f}" in said


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_command_it_shows_exists(document: Path) -> None:
    for block in re.findall(r"^```bash\n(.+?)^```$", document.read_text(), flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            for command in re.findall(r"(?:^|\s|/)(bench [a-z].*?)(?:&&|$)", line):
                _check(shlex.split(command, comments=True)[1:], document)


def _check(words: list[str], document: Path) -> None:
    """Find the verb of a command line, and each of its options."""
    verb: click.Command = cli.bench
    while isinstance(verb, click.Group) and words and not words[0].startswith("-"):
        known = verb.commands.get(words[0])
        assert known is not None, f"{document.name}: bench {words[0]}"
        assert not known.hidden, f"{document.name}: bench {words[0]} is an old name"
        verb, words = known, words[1:]
    if verb.context_settings.get("ignore_unknown_options"):
        return  # `bench submit run` hands its options on to `bench run`
    options = {name for parameter in verb.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - options
    assert not unknown, f"{document.name}: {verb.name} {unknown}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_every_file_it_names_exists(document: Path) -> None:
    named = set(re.findall(r"\]\(([\w./-]+)\)", document.read_text()))
    assert not {path for path in named if not (document.parent / path).exists()}


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 100


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path / "site") for path in (tmp_path / "site").rglob("*.html")}
    assert {Path(f"{path.stem}.html") for path in (ROOT / "docs").glob("*.md")} <= pages
    plugins = (tmp_path / "site" / "api" / "plugins.html").read_text()
    assert "AttributionMethod" in plugins, "pages of the reference come from docstrings"


def test_the_models_of_the_main_job_are_registered() -> None:
    assert {"natural-wrn28", "pgd-wrn28", "art-wrn28"} <= set(registry.names("models"))
