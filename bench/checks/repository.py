"""Checks the entries and records of a pull request.

Functions return answers; none of them prints.
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bench import registry
from bench.checks.check import Check
from bench.checks.derived_flags import only_flags_differ
from bench.checks.records import verify_results
from bench.checks.studies import verify_studies
from bench.core.errors import BenchError, IntegrityError, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.storage.files import sha256_of_file
from bench.core.storage.published import named
from bench.core.storage.stored_run import StoredRun, read_run

ADD_ONLY = ("results/", "model_zoo/weights/", "bench/protocols/")
"""Folders in which a pull request may add files, but must not change or remove any.

Exception: the flags of a record may be derived again."""

NOTES = (".confirmed", ".png", "/showcase.webp", "/showcase.json", "/study.json")
"""Endings of files that may be replaced: notes on second runs, pictures, which can be packed, and cards of studies."""

TRANSFER = "transfer"
"""The track that judges models on images of another set, so that it needs no accuracy on their own."""

WEIGHTS = Path(registry.__file__).parents[2] / "model_zoo" / "weights"


def validate(results: Path, base: str | None = None) -> list[Check]:
    """Check every entry, every record, and whether they fit each other.

    Args:
        results: the folder of records.
        base: a commit of the repository that holds `results`; if given, the changes since then are checked too.
    Raises:
        UsageError: if there are no records, or the commit does not exist.
    """
    entries, checks = _entries()
    checks += [*verify_results(results), *verify_studies(results)]
    runs = list(_readable(results))
    on_own_images = {run.record.spec.model.name for run in runs if run.record.spec.protocol.track != TRANSFER}
    checks += [_measured(name, entries[name]) for name in sorted(on_own_images & entries.keys())]
    checks += [*_duplicates(entries, runs), *(_registered(results, run, entries) for run in runs)]
    if base is not None:
        checks.append(_add_only(results, base))
    return checks


def _entries() -> tuple[dict[str, ModelEntry], list[Check]]:
    entries: dict[str, ModelEntry] = {}
    checks = []
    for name in registry.names("models"):
        try:
            entries[name] = registry.load("models", name)
            checks.append(Check(f"hub:{name}", "entry", True, _check_weights(entries[name])))
        except BenchError as error:
            checks.append(Check(f"hub:{name}", "entry", False, str(error), error.exit_code))
    return entries, checks


def _measured(name: str, entry: ModelEntry) -> Check:
    """Check that a model's clean accuracy on its own images was measured."""
    if entry.accuracy is not None:
        return Check(f"hub:{name}", "measured accuracy", True, f"on {entry.accuracy.images} test images")
    came = "a claimed one" if entry.claimed else "none"
    detail = (
        f"expected a measured clean accuracy of {name}, which has records, got {came}; "
        "bench submit run measures it and writes it into the entry, bench verify tells it"
    )
    return Check(f"hub:{name}", "measured accuracy", False, detail, UsageError.exit_code)


def _check_weights(entry: ModelEntry) -> str:
    weights = entry.weights
    if weights.repo is not None:
        return f"{weights.repo} at {str(weights.revision)[:12]}, sha256 {weights.sha256[:12]}…"
    path = WEIGHTS / weights.file
    if weights.checkpoint is not None:
        if path.exists():
            raise IntegrityError(f"expected no copy of the published weights of {entry.name}, got {path}; remove it")
        return f"{named(weights.checkpoint)}, sha256 {weights.checkpoint.sha256[:12]}…"
    if not path.is_file():
        raise IntegrityError(f"expected the weights of {entry.name} in {path}, got no file; add it")
    found = path.stat().st_size, sha256_of_file(path)
    if found != (weights.size, weights.sha256):
        raise IntegrityError(
            f"expected {path} of {weights.size} bytes with the sha256 {weights.sha256[:12]}…, got {found[0]} bytes "
            f"with {found[1][:12]}…; restore it, or register it under another name"
        )
    return f"{weights.file}: {weights.size} bytes, sha256 {weights.sha256[:12]}…"


def _readable(results: Path) -> Iterator[StoredRun]:
    """Yield the records that can be read.

    `verify_results` reports the others.
    """
    for path in sorted(results.glob("*/*/*/*.json")):
        try:
            yield read_run(path)
        except IntegrityError:
            continue


def _duplicates(entries: dict[str, ModelEntry], runs: list[StoredRun]) -> list[Check]:
    by_weights: dict[str, list[str]] = defaultdict(list)
    for name, entry in entries.items():
        by_weights[entry.weights.sha256].append(name)
    by_run: dict[str, list[str]] = defaultdict(list)
    by_rows: dict[str, dict[str, str]] = defaultdict(dict)
    for run in runs:
        by_run[run.record.run_id].append(str(run.path))
        by_rows[run.record.rows_sha256][_origin(run)] = str(run.path)
    return [
        _distinct("entries", "weights under one name", by_weights),
        _distinct("records", "runs filed once", by_run),
        _distinct("records", "rows of one run", {sha: list(paths.values()) for sha, paths in by_rows.items()}),
    ]


def _origin(run: StoredRun) -> str:
    """Return what no two runs with equal rows may differ in.

    Clean images of one network give the same rows under all protocols that choose them.
    """
    spec = run.record.spec
    return spec.model.weights_sha256 if spec.attack.name == "unchanged" else run.record.run_id


def _distinct(subject: str, question: str, found: dict[str, list[str]]) -> Check:
    twice = [names for names in found.values() if len(names) > 1]
    if twice:
        detail = f"expected {question}, got the same in {' and '.join(twice[0])}; keep one"
        return Check(subject, question, False, detail, IntegrityError.exit_code)
    return Check(subject, question, True, f"{len(found)} distinct")


def _registered(results: Path, run: StoredRun, entries: dict[str, ModelEntry]) -> Check:
    """Check that a record's model is registered.

    Records of earlier weights under a registered name are valid: they are history.
    """
    subject, spec = str(run.path.relative_to(results)), run.record.spec
    entry = entries.get(spec.model.name)
    if entry is None:
        detail = f"expected a registered model, got {spec.model.name}; add its entry to model_zoo/entries"
        return Check(subject, "model", False, detail, UsageError.exit_code)
    if entry.weights.sha256 == spec.model.weights_sha256:
        return Check(subject, "model", True, "registered with these weights")
    if run.record.entry.added > entry.added:
        detail = f"expected weights no newer than the entry of {entry.name}, got others; update the entry"
        return Check(subject, "model", False, detail, IntegrityError.exit_code)
    return Check(subject, "model", True, "earlier weights of a registered model")


def changes(results: Path, base: str) -> list[tuple[str, str]]:
    """Return the files that changed since a commit, as (status, path).

    The status is git's letter: A for added, M for modified, D for deleted. The repository is the one that holds
    `results`.

    Raises:
        UsageError: if the folder is not in a repository, or the commit does not exist.
    """
    if not re.fullmatch(r"\w[\w./~^-]*", base):
        raise UsageError(f"expected a commit, got {base!r}")
    try:
        found = _git(results, "diff", "--name-status", "--no-renames", "-z", f"{base}...HEAD", "--", ":/")
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", b"") or str(error).encode()).decode(errors="replace")
        raise UsageError(f"expected a commit to compare {results} with, got {base!r}: {why.strip()}") from error
    words = found.decode().split("\0")
    return list(zip(words[0::2], words[1::2], strict=False))


def _add_only(results: Path, base: str) -> Check:
    touched = [(kind, path) for kind, path in changes(results, base) if kind != "A" and path.startswith(ADD_ONLY)]
    bad = [path for kind, path in touched if not (path.endswith(NOTES) or _reflagged(results, base, kind, path))]
    if bad:
        detail = f"expected only new files in {', '.join(ADD_ONLY)}, got a change of {bad[0]}; restore it"
        return Check("history", "write-once", False, detail, IntegrityError.exit_code)
    return Check("history", "write-once", True, "no record, weights or protocol changed or removed")


def _reflagged(results: Path, base: str, kind: str, path: str) -> bool:
    """Return whether a change touched only the flags of a record.

    `verify_results` checks the flags against the rows.
    """
    if kind != "M" or not path.endswith(".json"):
        return False
    since = _git(results, "merge-base", base, "HEAD").decode().strip()
    return only_flags_differ(*(_git(results, "show", f"{commit}:{path}") for commit in (since, "HEAD")))


def _git(results: Path, *words: str) -> bytes:
    done = subprocess.run(["git", "-C", str(results), *words], capture_output=True, check=True)  # noqa: S603, S607
    return done.stdout
