"""Compares second runs with the first runs of the same specs.

Where both agree, a note is written beside the first record.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.checks.check import Check
from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.records import Confirmation
from bench.core.storage.files import canonical_json, write_atomic
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun

MEAN_TOLERANCE = 0.01
"""Allowed difference of two means of the primary metric: with 1000 images, the mean is uncertain by about this much.

A search follows the last bits of its gradients, so that other processors end at other images of about the same mean."""


def confirm(results: Path, again: Path) -> list[Check]:
    """Compare the runs that both folders hold, and note where they agree.

    The notes are written in `results`, the folder of the first runs.

    Raises:
        UsageError: if the folders have no run in common.
        IntegrityError: if a record is damaged.
    """
    firsts = {run.record.run_id: run for run in Store(results).runs()}
    pairs = [(firsts[run.record.run_id], run) for run in Store(again).runs() if run.record.run_id in firsts]
    if not pairs:
        raise UsageError(f"expected runs of the same specs in {results} and {again}, got none; run one again first")
    return [_confirm(first, second, results) for first, second in pairs]


def _confirm(first: StoredRun, second: StoredRun, root: Path) -> Check:
    subject = str(first.path.relative_to(root))
    if first.record.environment == second.record.environment:
        problem = "expected a second run, got a copy of the first one's record; run it again"
        return Check(subject, "second run", False, problem, UsageError.exit_code)
    note = confirmation(first, second)
    detail = f"mean differs by {note.mean_difference:+.4f}, an image by {note.largest_difference:.4f} at most"
    if abs(note.mean_difference) > MEAN_TOLERANCE:
        problem = f"expected means within {MEAN_TOLERANCE}, got: {detail}; look at the environments of both"
        return Check(subject, "second run", False, problem, IntegrityError.exit_code)
    write_atomic(first.confirmation_path, canonical_json(note.model_dump(mode="json")).encode() + b"\n")
    return Check(subject, "second run", True, detail)


def confirmation(first: StoredRun, second: StoredRun) -> Confirmation:
    """Return the note on how a second run differs from the first.

    Raises:
        IntegrityError: if the rows are damaged, or belong to other images.
    """
    metric = first.record.spec.primary_metric
    columns = [run.rows().set_index("sample_id")[metric] for run in (first, second)]
    if not columns[0].index.equals(columns[1].index):
        raise IntegrityError(
            f"expected the same images in {first.rows_path} and {second.rows_path}, got others; run again"
        )
    change = (columns[1] - columns[0]).dropna().to_numpy(np.float64)
    return Confirmation(
        run_id=first.record.run_id,
        rows_sha256=first.record.rows_sha256,
        again_sha256=second.record.rows_sha256,
        images=len(columns[0]),
        mean_difference=float(change.mean()) if len(change) else 0.0,
        largest_difference=float(np.abs(change).max()) if len(change) else 0.0,
        environment=second.record.environment,
    )
