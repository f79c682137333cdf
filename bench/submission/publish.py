"""Publishing of a model: Hub folder, upload, text of the pull request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import tomli_w

from bench.checks.check import Check
from bench.core.errors import NetworkError, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import REPO
from bench.core.schemas.records import RunRecord
from bench.core.storage.files import write_atomic
from bench.core.storage.store import Store
from bench.submission.card import EVAL_RESULTS, card, escaped, eval_results_file, fenced, measured
from bench.submission.origin import needed
from model_zoo.hub import translate
from model_zoo.weights_file import ENTRY_FILE, verify_weights

PULL_REQUEST = "pull-request.md"


class Published(NamedTuple):
    """The files that publishing left on this machine."""

    folder: Path
    """The same files as in the repository on the Hub."""
    pull_request: Path
    commit: str | None
    """The commit of the upload; None if nothing was uploaded."""


def records_of(entry: ModelEntry, results: Path) -> list[RunRecord]:
    """Return the records of a model with these weights, ordered by path."""
    found = (run.record for run in Store(results).runs())
    return [record for record in found if record.spec.model.weights_sha256 == entry.weights.sha256]


def check_repo(repo: str) -> None:
    """Refuse an invalid name of a repository on the Hub.

    Raises:
        UsageError: with the valid form.
    """
    if not re.fullmatch(REPO, repo, re.ASCII) or ".." in repo or "--" in repo:
        raise UsageError(f"expected a repository as ORG/NAME, got {repo!r}; correct --repo")


def write_folder(
    entry: ModelEntry, weights: Path, records: Sequence[RunRecord], repo: str, folder: Path
) -> tuple[str, ...]:
    """Write the files for the repository and return their names.

    The files are entry, weights, card and results.
    """
    verify_weights(weights, entry.weights)
    content = {
        ENTRY_FILE: entry_toml(entry, repo=None, commit=None).encode(),
        "README.md": card(entry, records, repo).encode(),
        entry.weights.file: weights.read_bytes(),
    }
    if (results := eval_results_file(entry, records)) is not None:
        content[EVAL_RESULTS] = results.encode()
    for name, body in content.items():
        write_atomic(folder / name, body)
    return tuple(content)


def entry_toml(entry: ModelEntry, *, repo: str | None, commit: str | None) -> str:
    """Return an entry as TOML.

    The weights are pinned to a commit of a repository, or lie beside the entry.
    """
    weights = entry.weights.model_copy(update={"repo": repo, "revision": commit, "origin": None})
    pinned = entry.model_copy(update={"weights": weights})
    content = pinned.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    return tomli_w.dumps({**content, "added": entry.added}, multiline_strings=False)


def upload(folder: Path, names: Sequence[str], repo: str) -> str:
    """Upload files of the folder in one commit, and return that commit.

    The repository is created if it is missing.

    Raises:
        NetworkError: if the Hub cannot be reached or refuses the upload.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    try:
        api.create_repo(repo, exist_ok=True)
        additions = [CommitOperationAdd(name, folder / name) for name in names]
        commit = api.create_commit(repo, additions, commit_message="Publish the model with attribution-bench").oid
    except Exception as error:  # the client's errors have no common base class
        raise translate(f"to upload {folder} to {repo}", error) from error
    if not re.fullmatch("[0-9a-f]{40}", commit):
        raise NetworkError(f"expected the Hub to name the new commit, got {commit!r}; look at the repository {repo}")
    return commit


def pull_request(
    entry: ModelEntry, checks: Sequence[Check], records: Sequence[RunRecord], repo: str, commit: str | None
) -> str:
    """Return title and body of the pull request for the entry."""
    where = f"`hub:{repo}@{commit}`" if commit else f"`hub:{repo}`, not uploaded yet: its commit is not known"
    toml = entry_toml(entry, repo=repo if commit else None, commit=commit)
    path = f"model_zoo/entries/{entry.name}.toml"
    need = needed(entry.architecture.name)
    answers = [f"- [{'x' if c.ok else ' '}] {escaped(c.question)}: {escaped(c.detail)}" for c in checks]
    parts = [
        f"Register {entry.name}",
        f"{escaped(entry.title)}, licence {escaped(entry.license)}, published as {where}.",
        "## Checks",
        "\n".join(answers),
        "## Measured",
        measured(records) if records else "No record yet.",
        *([] if need is None else ["## Also needed", f"{need[0].upper()}{need[1:]}."]),
        f"## {path}",
        fenced(toml, "toml"),
    ]
    if not commit:
        parts.append("Publish first, so that the entry names repository and commit.")
    return "\n\n".join(parts) + "\n"


def publish(
    entry: ModelEntry, weights: Path, checks: Sequence[Check], *, repo: str, results: Path, out: Path, dry_run: bool
) -> Published:
    """Write the Hub folder and the pull request's text below `out`.

    The folder is uploaded unless `dry_run`.
    """
    check_repo(repo)
    records = records_of(entry, results)
    folder = out / "hub"
    names = write_folder(entry, weights, records, repo, folder)
    commit = None if dry_run else upload(folder, names, repo)
    text = pull_request(entry, checks, records, repo, commit)
    write_atomic(out / PULL_REQUEST, text.encode())
    if commit is not None:
        write_atomic(out / f"{entry.name}.toml", entry_toml(entry, repo=repo, commit=commit).encode())
    return Published(folder, out / PULL_REQUEST, commit)
