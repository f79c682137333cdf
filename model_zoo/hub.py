"""From the name of a model to its entry and a weights file whose bytes are the promised ones."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import tomli_w

from bench.core.contracts import Zoo
from bench.core.entry import ModelEntry, Weights
from bench.core.errors import (
    BenchError,
    EnvironmentFault,
    IntegrityError,
    NetworkError,
    UnknownNameError,
    UsageError,
)
from bench.core.files import sha256_of_file, write_atomic
from bench.core.toml import parse_toml

EMBEDDED = Path(__file__).parent / "weights"


class Resolved(NamedTuple):
    """An entry, the reference that finds it again, and its weights, verified."""

    entry: ModelEntry
    reference: str
    path: Path


def resolve(
    reference: str, load_entry: Callable[[str], ModelEntry], load_zoo: Callable[[str], type[Zoo]] | None = None
) -> Resolved:
    """Find a model, fetch its weights if need be, and verify them before anything reads them.

    Args:
        reference: `hub:NAME`, an entry of the registry, `file:PATH.toml`, an entry whose weights lie beside it, or
            `ZOO:NAME`, a network of another library, which becomes an entry in the cache folder.
        load_entry: returns the registry's entry of a name.
        load_zoo: returns the registry's zoo of a name; None where other libraries are not welcome.
    Returns:
        The entry and the verified file. The reference of a local entry is kept without its folder, as the same model
        in another folder is the same model.
    Raises:
        UsageError: if the reference has another form, or the entry is unknown or not valid.
        IntegrityError: if the weights are missing or are not the promised bytes.
        NetworkError: if they must be fetched and cannot be.
    """
    scheme, _, rest = reference.partition(":")
    if scheme == "hub" and rest:
        entry = load_entry(rest)
        path = _locate(entry.weights, EMBEDDED)
    elif scheme == "file" and rest.endswith(".toml"):
        toml = Path(rest)
        entry = parse_toml(toml, ModelEntry, name=toml.stem)
        path, reference = _locate(entry.weights, toml.parent), f"file:{toml.name}"
    elif load_zoo is not None and rest and scheme not in {"hub", "file"}:
        from model_zoo.imports import bring_in

        brought = bring_in(scheme, _zoo(reference, scheme, load_zoo), rest)
        entry, reference, path = brought.entry, brought.reference, brought.path
    else:
        hint = f"write hub:{reference}" if ":" not in reference else "known forms: hub:NAME, file:PATH.toml"
        raise UsageError(f"expected a model as hub:NAME or file:PATH.toml, got {reference!r}; {hint}")
    verify_weights(path, entry.weights)
    return Resolved(entry, reference, path)


def _zoo(reference: str, scheme: str, load_zoo: Callable[[str], type[Zoo]]) -> Zoo:
    try:
        return load_zoo(scheme)()
    except UnknownNameError as error:
        raise UsageError(
            f"expected a model as hub:NAME, file:PATH.toml or ZOO:NAME, got {reference!r}; {error}"
        ) from None


def write_entry(entry: ModelEntry, folder: Path) -> Path:
    """Write an entry as TOML into a folder and return its path."""
    path = folder / f"{entry.name}.toml"
    content = entry.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    write_atomic(path, tomli_w.dumps({**content, "added": entry.added}).encode())
    return path


def verify_weights(path: Path, weights: Weights) -> None:
    """Check the size, then the SHA-256, without parsing anything.

    Raises:
        IntegrityError: naming file, expected and got.
    """
    if not path.is_file():
        raise IntegrityError(f"expected weights in {path}, got no file; restore it, or install the package again")
    if (size := path.stat().st_size) != weights.size:
        raise IntegrityError(f"expected {weights.size} bytes in {path}, got {size}{_nature(path)}; {_remedy(weights)}")
    if (actual := sha256_of_file(path)) != weights.sha256:
        raise IntegrityError(
            f"expected {path} to have the sha256 {weights.sha256[:12]}…, got {actual[:12]}…{_nature(path)}; "
            f"{_remedy(weights)}"
        )


def _locate(weights: Weights, folder: Path) -> Path:
    beside = folder / weights.file
    return beside if weights.repo is None or beside.exists() else _fetch(weights)


def _fetch(weights: Weights) -> Path:
    from huggingface_hub import hf_hub_download

    what = f"{weights.file} of {weights.repo} at {(weights.revision or '')[:12]}"
    try:
        return Path(hf_hub_download(str(weights.repo), weights.file, revision=weights.revision))
    except Exception as error:  # the client's errors have no common root: its own, its HTTP library's, the system's
        raise _translate(what, error) from error


def _translate(what: str, error: Exception) -> BenchError:
    told = error.__cause__ or error  # the client wraps what happened in general advice
    reason = str(told).strip().split("\n")[0].rstrip(".") or type(told).__name__
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT}:
        return EnvironmentFault(f"expected to store {what}, got: {reason}; set HF_HOME to a writable folder with space")
    return NetworkError(
        f"expected to download {what}, got: {reason}; connect to the network once, or copy the file into the cache "
        "of huggingface_hub (HF_HOME)"
    )


def _remedy(weights: Weights) -> str:
    return "restore it, or install the package again" if weights.repo is None else "delete it and run again to fetch it"


def _nature(path: Path) -> str:
    """Say what commonly lies in the place of weights; the first bytes tell."""
    with path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return " (an HTML page, perhaps of a login or an error, in place of weights)"
    if start.startswith(b"version https://git-lfs"):
        return " (a git-lfs pointer in place of weights: git lfs pull)"
    return ""
