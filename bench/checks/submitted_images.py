"""Checks what a machine can check of submitted images again."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench import registry
from bench.core.errors import EnvironmentFault, IntegrityError
from bench.core.schemas.protocol import OUTSIDE, Component, Protocol
from bench.core.storage.stored_run import StoredRun

NOT_CHECKED = "class and maps were not computed again: submit the file into another folder, then bench verify --against"


def check_images(run: StoredRun, protocol: Protocol, work: Path) -> tuple[str, bool]:
    """Return what was checked of submitted images, in words.

    The second value says whether anything was checked. If the images are kept here, their checksum, their ids and,
    with the data set, their distances are compared with the record and its rows. Class and maps are never computed
    again here.

    Raises:
        IntegrityError: if the images differ from the record.
    """
    from bench.submission.perturbed import chosen, distances, kept, kept_path

    spec, rows = run.record.spec, run.rows()
    perturbed = kept(work, spec)
    if perturbed is None:
        return (
            f"the images are not on this machine ({kept_path(work, spec)}), so only the rows were checked; "
            "`bench submit attack` with the same file keeps them",
            False,
        )
    if list(rows["sample_id"]) != list(perturbed.ids):
        raise IntegrityError(f"expected the samples of the submitted images in {run.rows_path}, got others; run again")
    found = f"{len(perturbed.ids)} images, sha256 {perturbed.sha256[:12]}…"
    try:
        from bench.run.samples import load_samples

        dataset = registry.instantiate("datasets", Component(name=protocol.samples.source))
        clean = chosen(load_samples(protocol.samples, dataset), perturbed.ids)
    except EnvironmentFault:
        return f"{found}; without the data set their distances were not measured again; {NOT_CHECKED}", True
    measured = distances(perturbed, clean, spec.threat).numpy()
    feasible = rows["feasible"].to_numpy(bool)
    wrong = feasible & ~(np.abs(measured - rows[spec.threat.norm].to_numpy(np.float64)) <= 2 * OUTSIDE)
    wrong |= ~(measured <= float(spec.threat.epsilon) + OUTSIDE)
    if wrong.any():
        sample = perturbed.ids[int(wrong.argmax())]
        raise IntegrityError(
            f"expected the distances of the submitted images in {run.rows_path}, got others for {int(wrong.sum())} "
            f"images, first {sample}; run again"
        )
    return f"{found}, distances from the clean images measured again; {NOT_CHECKED}", True
