"""Derives the flags of stored records again and compares them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.core.errors import IntegrityError
from bench.core.schemas.flags import Evidence
from bench.core.schemas.records import ATTACK_COLUMNS, FIRST_FLAG_COLUMNS, Flag
from bench.core.storage.files import canonical_json, write_atomic
from bench.core.storage.stored_run import StoredRun, read_run
from bench.run.record import soundness


def derived_flags(run: StoredRun) -> tuple[Flag, ...] | None:
    """Return the flags that the rows of a stored run raise.

    The rows of its floor run are used too, where that run is stored.

    Returns:
        None for a run of engine 1, which does not record what its attack may know, or lacks columns that flags read.
    Raises:
        IntegrityError: if the rows of the run or of its floor run cannot be read.
    """
    rows, knowledge = run.rows(), run.record.knowledge
    if knowledge is None or not {*ATTACK_COLUMNS, *FIRST_FLAG_COLUMNS} <= set(rows):
        return None
    floor = _floor(run)
    with np.errstate(all="ignore"):  # another check reports infinite values in the rows
        beside = None if floor is None else floor.rows()
        return soundness.flags(Evidence(run.record.spec, rows, beside, knowledge, run.record.entry))


def check_flags(run: StoredRun) -> str:
    """Return how many flags a record has, once they fit its rows.

    Only the names of the flags are compared: the numbers in their details may round differently on another machine.

    Raises:
        IntegrityError: if the record's flags differ from the flags that its rows raise.
    """
    if (expected := derived_flags(run)) is None:
        return "of engine 1, not derived again"
    if (names := _names(expected)) != (came := _names(run.record.flags)):
        raise IntegrityError(
            f"expected the flags {sorted(names)} as the rows give them, got {sorted(came)} in {run.path}; "
            "derive them again with `bench verify FOLDER --flags`"
        )
    return f"{len(names)} flags, derived from the rows"


def derive_anew(root: Path) -> Iterator[StoredRun]:
    """Correct the flags of every record, and yield the changed records.

    A record changes only if its rows raise other flags; all other fields stay.

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
    """Return the bytes of a record with its flags replaced."""
    return canonical_json(json.loads(record) | {"flags": flags}).encode() + b"\n"


def only_flags_differ(before: bytes, after: bytes) -> bool:
    """Return whether two versions of a record differ in their flags only."""
    try:
        return with_flags(before, json.loads(after)["flags"]) == after
    except (ValueError, KeyError, TypeError):
        return False


def _names(flags: tuple[Flag, ...]) -> set[str]:
    return {flag.name for flag in flags}


def _floor(run: StoredRun) -> StoredRun | None:
    """Return the floor run on the same samples, if there is one.

    An external attack has none, as it may bring any of the images. The run with the protocol's own settings comes
    before others.
    """
    spec = run.record.spec
    if spec.attack.name == spec.protocol.floor or spec.attack.is_external:
        return None
    beside = [read_run(path) for path in sorted((run.path.parents[1] / spec.protocol.floor).glob("*.json"))]
    alike = [other for other in beside if other.record.spec.conditions == spec.conditions]
    return min(alike, key=lambda other: not other.record.spec.on_protocol, default=None)
