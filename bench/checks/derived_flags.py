"""The flags of filed records: whether they are what the rows give, and how they are derived anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.core.errors import IntegrityError
from bench.core.schemas.flags import Evidence
from bench.core.schemas.records import ATTACK_COLUMNS, FIRST_FLAG_COLUMNS, Flag
from bench.core.storage.files import canonical_json, write_atomic
from bench.core.storage.store import StoredRun, read_run
from bench.run.record import soundness


def derived_flags(run: StoredRun) -> tuple[Flag, ...] | None:
    """Return the flags that the rows of a filed run raise, beside those of its floor where that is filed too.

    Returns:
        None for a run of engine 1, which does not say what its attack may know, or lacks what the checks look at.
    Raises:
        IntegrityError: if its rows or those of its floor cannot be read.
    """
    rows, knowledge = run.rows(), run.record.knowledge
    if knowledge is None or not {*ATTACK_COLUMNS, *FIRST_FLAG_COLUMNS} <= set(rows):
        return None
    floor = _floor(run)
    with np.errstate(all="ignore"):  # infinities that somebody filed are another check's to find
        beside = None if floor is None else floor.rows()
        return soundness.flags(Evidence(run.record.spec, rows, beside, knowledge, run.record.entry))


def check_flags(run: StoredRun) -> str:
    """Say how many flags a record has.

    Only their names are compared: what they say in detail may round otherwise elsewhere.

    Raises:
        IntegrityError: if it has others than its rows give.
    """
    if (expected := derived_flags(run)) is None:
        return "of engine 1, not derived again"
    if (names := _names(expected)) != (came := _names(run.record.flags)):
        raise IntegrityError(
            f"expected the flags {sorted(names)} as the rows give them, got {sorted(came)} in {run.path}; "
            "derive them anew with `bench verify FOLDER --flags`"
        )
    return f"{len(names)} flags, derived from the rows"


def derive_anew(root: Path) -> Iterator[StoredRun]:
    """Replace the flags of every record that has others than its rows give, and yield these; nothing else changes.

    Raises:
        IntegrityError: if a record or its rows cannot be read.
    """
    for path in sorted(root.glob("*/*/*/*.json")):
        run = read_run(path)
        expected = derived_flags(run)
        if expected is not None and _names(expected) != _names(run.record.flags):
            write_atomic(path, with_flags(path.read_bytes(), [flag.model_dump() for flag in expected]))
            yield read_run(path)


def with_flags(record: bytes, flags: object) -> bytes:
    """Return the file of a record with other flags."""
    return canonical_json(json.loads(record) | {"flags": flags}).encode() + b"\n"


def only_flags_differ(before: bytes, after: bytes) -> bool:
    """Say whether two files of one record are the same but for its flags."""
    try:
        return with_flags(before, json.loads(after)["flags"]) == after
    except (ValueError, KeyError, TypeError):
        return False


def _names(flags: tuple[Flag, ...]) -> set[str]:
    return {flag.name for flag in flags}


def _floor(run: StoredRun) -> StoredRun | None:
    """Return the floor attack's run on the same samples, the protocol's own before others."""
    spec = run.record.spec
    if spec.attack.name == spec.protocol.floor:
        return None
    beside = [read_run(path) for path in sorted((run.path.parents[1] / spec.protocol.floor).glob("*.json"))]
    alike = [other for other in beside if other.record.spec.conditions == spec.conditions]
    return min(alike, key=lambda other: not other.record.spec.on_protocol, default=None)
