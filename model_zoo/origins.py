"""Weights that others published: converted at first use, and kept as safetensors."""

from __future__ import annotations

from pathlib import Path

from bench import registry
from bench.core.errors import BenchError, IntegrityError
from bench.core.schemas.entry import ModelEntry, PublishedWeights
from bench.core.storage.files import write_atomic
from bench.core.storage.folders import cache_folder
from bench.core.storage.packaged import packaged
from bench.core.storage.published import named, published
from model_zoo.foreign.fit import fit
from model_zoo.foreign.names import read_checkpoint
from model_zoo.tensors import pack


def weights_by_origin(entry: ModelEntry) -> Path:
    """Return the safetensors of an entry with others' weights.

    They are converted at first use.

    Raises:
        NetworkError: if the checkpoint must be fetched and cannot be.
        EnvironmentFault: if the package that holds it is not installed.
        IntegrityError: if it is not the promised file, or its tensors are not the promised ones.
    """
    kept = cache_folder() / "weights" / entry.weights.sha256[:16] / entry.weights.file
    if not kept.exists():
        write_atomic(kept, _converted(entry))
    return kept


def _converted(entry: ModelEntry) -> bytes:
    """Return the safetensors that the published checkpoint becomes."""
    origin = entry.weights.checkpoint
    assert origin is not None
    source = published(origin) if isinstance(origin, PublishedWeights) else packaged(origin)
    build = registry.load("architectures", entry.architecture.name)
    whose = f"{named(origin)}, as the entry {entry.name} reads it"
    try:
        fitted = fit(
            read_checkpoint(source, origin.table), entry.architecture, build, entry.num_classes, whose=source.name
        )
    except BenchError as error:
        raise IntegrityError(f"{whose}: {error}") from None
    report, own = fitted.report, (entry.mean, entry.std)
    if not report.complete:
        raise IntegrityError(
            f"{whose}: expected every tensor of {entry.architecture.name} and no other, got {report.misfit}; correct "
            "the entry's architecture or origin.table"
        )
    if fitted.normalisation is not None and tuple(fitted.normalisation) != own:
        raise IntegrityError(
            f"{whose}: expected mean {entry.mean} and std {entry.std}, got {tuple(fitted.normalisation)} in the file; "
            "correct the entry"
        )
    content, weights = pack(fitted.tensors, entry.weights.file)
    if weights.sha256 != entry.weights.sha256:
        raise IntegrityError(
            f"{whose}: expected safetensors with the sha256 {entry.weights.sha256[:12]}…, got "
            f"{weights.sha256[:12]}…; correct [weights] as `bench submit convert` writes it"
        )
    return content
