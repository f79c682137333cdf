"""A submission says which part of its architecture others lack.

The part is a file of this checkout, or another package.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from bench import registry
from bench.core.errors import UnknownNameError
from bench.core.schemas.entry import ModelEntry
from bench.submission import check as checks
from bench.submission import origin
from bench.submission.card import card
from bench.submission.publish import pull_request
from tests.support.planted import plugins_in
from tests.support.tiny import residual_content, write_entry

SOURCE = '"""A copy."""\nfrom model_zoo.architectures.wide_resnet import build\n'
PATH = "planted/architectures/own_net.py"


def git(folder: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Make a repository with the architecture `own-net` in no commit.

    It has one commit, and the file lies in its folder.
    """
    package = tmp_path / "checkout" / "planted"
    (package / "architectures").mkdir(parents=True)
    for folder in (package, package / "architectures"):
        (folder / "__init__.py").touch()
    git(tmp_path / "checkout", "init", "-q", "-b", "main")
    git(tmp_path / "checkout", "add", "-A")
    git(tmp_path / "checkout", "commit", "-q", "-m", "Begin")
    (tmp_path / "checkout" / PATH).write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path / "checkout")
    with plugins_in({"architectures": registry.Python("planted.architectures", None)}):
        yield tmp_path / "checkout"
    for module in [m for m in sys.modules if m.split(".")[0] == "planted"]:
        del sys.modules[module]


def commit(checkout: Path) -> None:
    git(checkout, "add", "-A")
    git(checkout, "commit", "-q", "-m", "Add own-net")


def edit(checkout: Path) -> None:
    commit(checkout)
    (checkout / PATH).write_text(SOURCE + "VERSION = 2\n")


def commit_ahead(checkout: Path) -> None:
    git(checkout, "update-ref", "refs/remotes/origin/main", "HEAD")
    commit(checkout)


def merge(checkout: Path) -> None:
    commit(checkout)
    git(checkout, "update-ref", "refs/remotes/origin/main", "HEAD")


@pytest.mark.parametrize(
    ("prepare", "lacking"),
    [
        (lambda checkout: None, "HEAD"),
        (commit, None),
        (edit, "HEAD"),
        (commit_ahead, "origin/main"),
        (merge, None),
    ],
    ids=["untracked", "committed", "edited", "not upstream", "upstream"],
)
def test_a_file_that_the_repository_lacks_must_come_too(
    checkout: Path, prepare: Callable[[Path], None], lacking: str | None
) -> None:
    prepare(checkout)
    said = origin.needed("own-net")
    expected = f"its architecture, in its present form, is missing from {lacking}: the pull request must add {PATH} too"
    assert said == (None if lacking is None else expected)


@pytest.mark.parametrize(
    ("installed", "lacks"),
    [((), False), (("bench/cli.py", "planted/hub.py"), True), (("planted/hub.py", PATH), False)],
    ids=["editable", "added by hand", "as installed"],
)
def test_without_git_the_installed_files_tell(
    checkout: Path, installed: tuple[str, ...], lacks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / ".git").rename(checkout / "no-git")
    monkeypatch.setattr(origin, "files", lambda name: [Path(file) for file in installed])
    said = origin.needed("own-net") or ""
    assert lacks == bool(said)
    assert ("missing from attribution-bench " in said) == lacks


def test_check_and_pull_request_name_the_file(checkout: Path, tmp_path: Path) -> None:
    content = residual_content(tmp_path) | {"architecture": {"name": "own-net", "params": {"depth": 10, "width": 1}}}
    found = checks.check_submission(f"file:{write_entry(tmp_path, content)}", device=torch.device("cpu"))
    (answer,) = [check for check in found if check.question == "architecture"]
    assert answer.ok
    assert answer.detail.endswith(f"the pull request must add {PATH} too")
    entry = ModelEntry.model_validate(content)
    words = f"Its architecture, in its present form, is missing from HEAD: the pull request must add {PATH}"
    assert f"## Also needed\n\n{words}" in pull_request(entry, found, [], "me/tiny", None)
    commit(checkout)
    assert "## Also needed" not in pull_request(entry, found, [], "me/tiny", None)


def test_another_package_must_be_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[attribution_bench.architectures]\ntheir-net = theirs.net:build\n")
    monkeypatch.syspath_prepend(tmp_path)
    with plugins_in({}):
        entry = ModelEntry.model_validate(residual_content(tmp_path) | {"architecture": {"name": "their-net"}})
        assert "is offered by theirs: install that package" in pull_request(entry, [], [], "me/tiny", None)
        assert "install it too" in card(entry, [], "me/tiny")
        with pytest.raises(UnknownNameError, match="did you mean 'their-net'"):
            origin.needed("their-nett")
