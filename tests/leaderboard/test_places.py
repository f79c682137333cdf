"""A site from several folders of records, one on the Hub."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import bench
from bench.commands._places import folders
from bench.core.errors import IntegrityError, UsageError
from leaderboard.records.rows import read_runs
from tests.support.factories import model_entry, store_run
from tests.support.loopback import COMMIT, Client, serving

BUILD = """
import sys
from bench.cli import main
main(["leaderboard", "build", *sys.argv[1:]])
"""


@pytest.fixture
def here(tmp_path: Path) -> Path:
    store_run(tmp_path / "here", model_entry("pgd-wrn28"))
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    store_run(tmp_path / "there", model_entry("art-wrn28"))
    return tmp_path / "there"


def _site(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_folders_make_the_site_of_one_that_holds_both(here: Path, there: Path, tmp_path: Path) -> None:
    both = tmp_path / "both"
    for folder in (here, there):
        shutil.copytree(folder, both, dirs_exist_ok=True)
    for words in ((str(here), str(there), str(tmp_path / "a")), (str(both), str(tmp_path / "b"))):
        done = CliRunner().invoke(bench, ["leaderboard", "build", *words])
        assert done.exit_code == 0, done.output
    assert _site(tmp_path / "a") == _site(tmp_path / "b")


def test_records_of_a_dataset_repository_are_fetched_at_their_commit(here: Path, there: Path, tmp_path: Path) -> None:
    with serving() as hub:
        for path in there.rglob("*.*"):
            hub.put("datasets/somebody/records", f"runs/{path.relative_to(there)}", path.read_bytes())
        hub.put("datasets/somebody/records", "runs/notes.exe", b"never fetched")
        client = Client(hub, tmp_path / "home")
        place = f"hf://datasets/somebody/records@{COMMIT}/runs"
        client.run(BUILD, str(here), place, str(tmp_path / "remote"))
        assert not [request for request in hub.requests if "notes.exe" in request.path]
        client.run(BUILD, str(here), place, str(tmp_path / "again"), offline=True)
    CliRunner().invoke(bench, ["leaderboard", "build", str(here), str(there), str(tmp_path / "local")])
    assert _site(tmp_path / "remote") == _site(tmp_path / "local") == _site(tmp_path / "again")


def test_a_repository_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    program = """
import sys
from bench.commands._places import folders
from bench.core.errors import NetworkError
try:
    folders(sys.argv[1:])
except NetworkError as error:
    print(error)
"""
    with serving() as hub:
        (said,) = Client(hub, tmp_path / "home").run(program, "hf://datasets/somebody/nothing")
    assert said.startswith("expected to download the records of somebody/nothing at main, got: ")


@pytest.mark.parametrize(
    "place", ["hf://models/a/b", "hf://datasets/a", "hf://datasets/a/b/../c", "hf://datasets/a/b@"]
)
def test_another_form_is_refused(place: str) -> None:
    with pytest.raises(UsageError, match="expected hf://datasets/ORG/REPO"):
        folders([place])


def test_a_run_with_two_results_is_refused(here: Path, tmp_path: Path) -> None:
    store_run(tmp_path / "other", model_entry("pgd-wrn28"), robustness=0.9)
    with pytest.raises(IntegrityError, match="expected one result of run"):
        read_runs(here, tmp_path / "other")
    assert len(read_runs(here, here)) == 1
