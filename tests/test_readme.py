"""What the README states is what the repository holds."""

from __future__ import annotations

import re
from pathlib import Path

from bench import cli, registry
from leaderboard.markdown import tables

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_its_table_is_the_one_of_the_records() -> None:
    assert tables(ROOT / "results", "cifar10-gradient-v1", metrics=["kendall"]) in README


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
