"""Checks records against their rows.

Functions return answers; none of them prints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from bench import registry
from bench.checks.check import Check, failure
from bench.checks.derived_flags import check_flags
from bench.checks.submitted_images import check_images
from bench.core.errors import (
    IntegrityError,
    UnknownNameError,
    UsageError,
)
from bench.core.schemas.protocol import OUTSIDE, Protocol
from bench.core.schemas.records import Summary
from bench.core.storage.folders import cache_folder
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun, read_run
from bench.run.record.summary import summarise

SUMMARY_TOLERANCE = 1e-9
"""Allowed relative and absolute difference of a summary: other processors add in another order."""


def verify_results(root: Path) -> list[Check]:
    """Check every record below a results folder.

    Its name, rows, images, flags and protocol must fit the record.

    Raises:
        UsageError: if `root` is not a folder, or holds no records.
    """
    paths = sorted(root.glob("*/*/*/*.json"))
    if not paths:
        raise UsageError(f"expected <protocol>/<model>/<attack>/*.json below {root}, got none; name a results folder")
    _registered.cache_clear()
    return [check for path in paths for check in _check_run(root, path)]


def _check_run(root: Path, path: Path) -> list[Check]:
    subject = str(path.relative_to(root))
    try:
        run = read_run(path)
    except IntegrityError as error:
        return [failure(subject, "record", error)]
    questions = {
        "record": _check_place,
        "protocol": _check_protocol,
        "showcase": _check_showcase,
        "rows": _check_rows,
        "threat": _check_threat,
        "summaries": _check_summaries,
        "flags": check_flags,
        "second run": _check_confirmation,
    }
    found = [_ask(subject, question, partial(check, run)) for question, check in questions.items()]
    return [*found, _check_images(subject, run)] if run.record.spec.attack.is_external else found


def _check_images(subject: str, run: StoredRun) -> Check:
    """Check submitted images as far as this machine has them."""
    try:
        detail, checked = check_images(run, _protocol_of(run), cache_folder() / "work")
    except (IntegrityError, UnknownNameError) as error:
        return failure(subject, "images", error)
    return Check(subject, "images", True, detail, skipped=not checked)


def _ask(subject: str, question: str, check: Callable[[], str]) -> Check:
    try:
        return Check(subject, question, True, check())
    except (IntegrityError, UnknownNameError) as error:
        return failure(subject, question, error)


def _check_place(run: StoredRun) -> str:
    expected = Store(Path()).path(run.record.spec)
    if (place := Path(*run.path.parts[-4:])) != expected:
        raise IntegrityError(f"expected the record at {expected}, got it at {place}; move it there")
    return f"run {run.record.run_id[:12]}"


def _check_protocol(run: StoredRun) -> str:
    recorded = run.record.spec.protocol
    protocol = _protocol_of(run)
    parts = ("sha256", "rankable", "floor", "reference")
    if any(getattr(protocol, part) != getattr(recorded, part) for part in parts):
        raise IntegrityError(
            f"expected {recorded.key} with the sha256 {protocol.sha256[:12]}…, got a record of "
            f"{recorded.sha256[:12]}…; a protocol never changes: restore its file, or run again"
        )
    ids, known = list(run.rows()["sample_id"]), protocol.samples.ids()
    if run.record.spec.attack.is_external:
        if ids != [name for name in known if name in set(ids)]:
            raise IntegrityError(f"expected samples of {recorded.key} in their order, got others; submit them again")
    elif ids != known[: len(ids)]:
        raise IntegrityError(f"expected the first {len(ids)} samples of {recorded.key}, got others; run again")
    return f"{recorded.key}, sha256 {recorded.sha256[:12]}…"


def _protocol_of(run: StoredRun) -> Protocol:
    """Return the registered protocol of a run, or else the stored copy."""
    key = run.record.spec.protocol.key
    beside = None if key in registry.names("protocols") else run.protocol()
    return _registered(key) if beside is None else beside


@lru_cache(maxsize=64)
def _registered(key: str) -> Protocol:
    """Return a registered protocol, read once for all its records."""
    found: Protocol = registry.load("protocols", key)
    return found


def _check_showcase(run: StoredRun) -> str:
    if run.showcase() is None:
        return "none" if run.record.showcase_sha256 is None else "not kept"
    return f"{len(run.record.showcase)} images"


def _check_confirmation(run: StoredRun) -> str:
    note = run.confirmation()
    return "none" if note is None else f"agrees, {note.environment.started} on {note.environment.hardware}"


def _check_rows(run: StoredRun) -> str:
    rows, record = run.rows(), run.record
    counted = {
        "samples": (len(rows), record.samples),
        "samples that were asked for": (len(rows), record.spec.samples.count),
        "distinct samples": (rows["sample_id"].nunique(), record.samples),
        "correct": (int(rows["correct"].sum()), record.correct),
        "infeasible": (int((~rows["feasible"].astype(bool)).sum()), record.infeasible),
    }
    for what, (count, recorded) in counted.items():
        if count != recorded:
            raise IntegrityError(f"expected {recorded} {what} as recorded, got {count} in {run.rows_path}; run again")
    return f"{len(rows)} rows, sha256 {record.rows_sha256[:12]}…"


def _check_threat(run: StoredRun) -> str:
    threat, rows = run.record.spec.threat, run.rows()
    # Negated, so that NaN counts as outside.
    outside = rows[~(rows[threat.norm] <= float(threat.epsilon) + OUTSIDE)]
    if len(outside):
        sample, length = outside.iloc[0]["sample_id"], outside.iloc[0][threat.norm]
        raise IntegrityError(
            f"expected {threat.norm} of at most {threat.epsilon} as the run's threat model has it, got {length:g} at "
            f"{sample} ({len(outside)} rows) in {run.rows_path}; run again"
        )
    return f"{threat.norm} of at most {threat.epsilon}"


def _check_summaries(run: StoredRun) -> str:
    recorded = run.record.summaries
    computed = summarise(run.rows(), [metric.name for metric in run.record.spec.metrics])
    for which, summaries in computed.items():
        if (names := recorded.get(which, {}).keys()) != summaries.keys():
            raise IntegrityError(f"expected summaries ({which}) of {sorted(summaries)}, got {sorted(names)}; run again")
        for name, summary in summaries.items():
            if not _equal(summary, recorded[which][name]):
                raise IntegrityError(
                    f"expected {name} ({which}) as the rows give it, {summary}, got {recorded[which][name]}; run again"
                )
    return f"{len(computed['all'])} metrics, recomputed from the rows"


def _equal(one: Summary, other: Summary) -> bool:
    if (one.n, one.n_undefined) != (other.n, other.n_undefined):
        return False
    pairs = [(one.mean, other.mean), (one.low, other.low), (one.high, other.high)]
    return all(
        a is b if a is None or b is None else math.isclose(a, b, rel_tol=SUMMARY_TOLERANCE, abs_tol=SUMMARY_TOLERANCE)
        for a, b in pairs
    )
