"""What the README states is what the repository holds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import cli, registry
from leaderboard.data.markdown import tables

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
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


def test_every_command_it_shows_exists() -> None:
    shown = set(re.findall(r"^(?:\.venv/bin/)?bench ([a-z]+)", README, flags=re.MULTILINE))
    assert shown
    assert shown <= set(cli.bench.commands)


def test_every_plugin_file_it_names_exists() -> None:
    named = set(re.findall(r"\]\(([\w./-]+)\)", README))
    assert named
    assert all((ROOT / path).exists() for path in named)


def test_the_models_of_the_main_job_are_registered() -> None:
    assert {"natural-wrn28", "pgd-wrn28", "art-wrn28"} <= set(registry.names("models"))
