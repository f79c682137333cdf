"""Finds a model's entry and its verified weights file by name."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench import registry
from bench.core.errors import (
    BenchError,
    EnvironmentFault,
    IntegrityError,
    NetworkError,
    UnknownNameError,
    UsageError,
)
from bench.core.schemas.announced import Announced
from bench.core.schemas.entry import ModelEntry, Weights
from bench.core.schemas.protocol import REPO
from bench.core.storage.toml import parse_toml
from model_zoo.foreign.nature import in_place_of
from model_zoo.weights_file import ENTRY_FILE, Resolved, verify_weights

if TYPE_CHECKING:
    from bench.core.contracts import Zoo

EMBEDDED = Path(__file__).parent / "weights"
CHECKPOINTS = frozenset({".pt", ".pth", ".th", ".ckpt", ".bin", ".model", ".onnx", ".npz", ".mat", ".safetensors"})
"""Usual endings of weights files."""

MAX_ENTRY_BYTES = 1 << 16
FORMS = "hub:NAME, hub:ORG/REPO[@COMMIT], file:PATH.toml, ZOO:NAME"
_PUBLISHED = re.compile(rf"({REPO})(?:@([A-Za-z0-9_][\w./-]*))?", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")


def resolve(reference: str, check_fit: Callable[[str, Announced], None] | None = None) -> Resolved:
    """Find a model, and fetch and verify its weights.

    The weights are verified before anything reads them.

    Args:
        reference: `hub:NAME`, an entry of the registry; `hub:ORG/REPO[@COMMIT]`, what somebody published on the Hub,
            of which only an entry and safetensors are read, never code; `file:PATH.toml`, an entry whose weights lie
            beside it; or `ZOO:NAME`, a network of another library, which becomes an entry in the cache folder. An
            entry may name a published checkpoint, which is converted at first use.
        check_fit: refuses a registered or another library's network before its download.
    Returns:
        The entry and the verified file. A published model's reference carries the full commit, whatever branch was
        asked for. The reference of a local entry is kept without its folder, as the same model in another folder is
        the same model.
    Raises:
        UsageError: if the reference has another form, or the entry is unknown or not valid.
        IntegrityError: if the weights are missing or are not the promised bytes.
        NetworkError: if they must be fetched and cannot be.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "hub" and "/" in rest:
        entry, reference = _published(reference, rest)
        _refuse_borrowed_name(reference, entry)
        path = _fetch(entry.weights)
    elif scheme == "hub" and rest:
        entry = registry.load("models", rest)
        if check_fit is not None:
            check_fit(entry.name, Announced(entry.dataset))
        path = _locate(entry, EMBEDDED)
    elif scheme == "file" and rest.endswith(".toml"):
        toml = Path(rest)
        entry = parse_toml(toml, ModelEntry, name=None if toml.name == ENTRY_FILE else toml.stem)
        path, reference = _locate(entry, toml.parent), f"file:{entry.name}.toml"
    elif rest and scheme not in {"hub", "file"}:
        from model_zoo.imported import bring_in  # with torch, which the other forms do without

        entry, reference, path = bring_in(scheme, _zoo(reference, scheme), rest, check_fit)
    else:
        refuse_checkpoint(reference.removeprefix("file:"))
        hint = f"write hub:{reference}" if ":" not in reference else f"known forms: {FORMS}"
        raise UsageError(f"expected a model as hub:NAME or file:PATH.toml, got {reference!r}; {hint}")
    verify_weights(path, entry.weights, own=scheme == "file")
    return Resolved(entry, reference, path)


def _zoo(reference: str, scheme: str) -> Zoo:
    try:
        zoo: type[Zoo] = registry.load("zoos", scheme)
        return zoo()
    except UnknownNameError as error:
        raise UsageError(
            f"expected a model as hub:NAME, file:PATH.toml or ZOO:NAME, got {reference!r}; {error}"
        ) from None


def full(reference: str) -> str:
    """Return a reference in the form that `resolve` takes.

    NAME becomes hub:NAME, and PATH.toml becomes file:PATH.toml.

    Raises:
        UsageError: if it is the path of a checkpoint.
    """
    if ":" not in reference:
        refuse_checkpoint(reference)
        if reference.endswith(".toml"):
            return f"file:{reference}"
    return reference if ":" in reference or "/" in reference else f"hub:{reference}"


def refuse_checkpoint(path: str) -> None:
    """Refuse the path of a checkpoint where a model is wanted.

    Raises:
        UsageError: naming the command that makes a model of it.
    """
    if Path(path).suffix.lower() in CHECKPOINTS:
        command = "init" if path.endswith(".safetensors") else "convert"
        raise UsageError(
            f"expected a model as hub:NAME or file:PATH.toml, got the weights {path}; make an entry of them with `"
            f"bench submit {command} {path} --architecture NAME`"
        )


def bare(reference: str) -> str:
    """Return the name of a registered model from NAME or hub:NAME."""
    return reference.removeprefix("hub:")


def _published(reference: str, rest: str) -> tuple[ModelEntry, str]:
    """Fetch a repository's entry, and pin it to a commit.

    Its weights are pinned to the same commit.
    """
    match = _PUBLISHED.fullmatch(rest)
    if match is None or ".." in rest:
        raise UsageError(f"expected hub:ORG/REPO or hub:ORG/REPO@COMMIT, got {reference!r}; correct it")
    repo, revision = match[1], match[2] or "main"
    path = _download(repo, ENTRY_FILE, revision)
    commit = path.parent.name  # the cache files every download under the commit that a branch stood for
    if not _COMMIT.fullmatch(commit) or (_COMMIT.fullmatch(revision) and commit != revision):
        raise IntegrityError(f"expected {repo} at {revision}, got the commit {commit}; the server is no Hub")
    pinned = f"hub:{repo}@{commit}"
    if (size := path.stat().st_size) > MAX_ENTRY_BYTES or in_place_of(path):
        raise IntegrityError(
            f"expected an entry of at most {MAX_ENTRY_BYTES} bytes in {ENTRY_FILE} of {pinned}, got {size} bytes"
            f"{in_place_of(path, 'an entry')}; tell its publisher, or delete {path.resolve()} if the Hub has another"
        )
    try:
        entry = parse_toml(path, ModelEntry)
    except UsageError as error:
        raise UsageError(
            f"{pinned}: {error} (if the file is right on the Hub, its copy is damaged: delete {path.resolve()})"
        ) from None
    if entry.weights.repo is None:
        pin = {"repo": repo, "revision": commit, "origin": None}
        entry = entry.model_copy(update={"weights": entry.weights.model_copy(update=pin)})
    return entry, pinned


def _refuse_borrowed_name(reference: str, entry: ModelEntry) -> None:
    """Refuse a model that has the name of another registered one.

    On a board a name belongs to one set of weights.
    """
    try:
        registered: ModelEntry = registry.load("models", entry.name)
    except UnknownNameError:
        return
    if registered.weights.sha256 != entry.weights.sha256:
        raise UsageError(
            f"expected {reference} under a name of its own, got {entry.name}, the name of a registered model with "
            "other weights; ask its publisher to rename it"
        )


def _locate(entry: ModelEntry, folder: Path) -> Path:
    beside = folder / entry.weights.file
    if entry.weights.repo is not None and not beside.exists():
        return _fetch(entry.weights)
    if entry.weights.checkpoint is not None and not beside.exists():
        from model_zoo.origins import weights_by_origin

        return weights_by_origin(entry)
    actual = Path(os.path.realpath(beside))
    if not actual.is_relative_to(os.path.realpath(folder)):
        raise IntegrityError(f"expected {beside} inside its folder, got a link to {actual}; put a copy in its place")
    return beside


def _fetch(weights: Weights) -> Path:
    return _download(str(weights.repo), weights.file, str(weights.revision))


def _download(repo: str, file: str, revision: str) -> Path:
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo, file, revision=revision))
    except Exception as error:  # the client's errors have no common root: its own, its HTTP library's, the system's
        raise translate(f"to download {file} of {repo} at {revision[:12]}", error) from error


def translate(what: str, error: Exception) -> BenchError:
    """Return our error for an error of the Hub's client."""
    told = error.__cause__ or error  # the client wraps what happened in general advice
    reason = str(told).strip().split("\n")[0].rstrip(".") or type(told).__name__
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT}:
        return EnvironmentFault(f"expected {what}, got: {reason}; set HF_HOME to a writable folder with space")
    response = getattr(error, "response", None)
    said = str(getattr(response, "headers", {}).get("X-Error-Message", ""))
    if "credentials" in said.lower() or "token" in said.lower():
        return NetworkError(
            f"expected {what}, got: {said}; the token is wrong or has expired: log in again with `hf auth login`, or "
            "unset HF_TOKEN for a public repository"
        )
    if getattr(response, "status_code", None) in {401, 403}:
        return NetworkError(
            f"expected {what}, got: {reason}; the repository is private, gated or not there: correct its name, or ask "
            "for access and log in with `hf auth login`"
        )
    return NetworkError(
        f"expected {what}, got: {reason}; connect to the network once, or copy the file into the cache "
        "of huggingface_hub (HF_HOME)"
    )
