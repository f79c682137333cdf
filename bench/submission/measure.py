"""Measurement of a submitted model's clean accuracy, written into its entry."""

from __future__ import annotations

from pathlib import Path

import torch

from bench import registry
from bench.checks.models import agrees, measure
from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.entry import MeasuredAccuracy, ModelEntry
from bench.flags.doubtful_accuracy import CAUSES, doubt
from model_zoo.build import build
from model_zoo.hub import resolve
from model_zoo.weights_file import rewrite_entry

ENOUGH = 1000
"""With an accuracy on this number of test images a model is not measured again. Fewer images are too inexact."""


def write_accuracy(path: Path, *, device: torch.device) -> ModelEntry:
    """Measure a model's clean accuracy and write it into its entry.

    Nothing is measured if the entry has an accuracy on enough images.

    Args:
        path: the entry's TOML.
        device: where to compute.
    Raises:
        IntegrityError: if the measured accuracy contradicts the claimed one, or is as low as by chance.
    """
    found = resolve(f"file:{path}")
    entry = found.entry
    if entry.accuracy is not None and entry.accuracy.images >= ENOUGH:
        return entry
    network = registry.load("architectures", entry.architecture.name)
    model = build(entry, network, found.path, device=device)
    count, images = measure(entry, model, device)
    if entry.accuracy is not None and images <= entry.accuracy.images:
        return entry
    confirm(count, images, entry)
    measured = entry.model_copy(update={"accuracy": MeasuredAccuracy(clean=count / images, images=images)})
    rewrite_entry(measured, path)
    return measured


def confirm(count: int, images: int, entry: ModelEntry) -> str:
    """Compare a number of correct answers with an entry.

    Raises:
        IntegrityError: if they contradict the entry, or if it says nothing and they are as by chance.
    """
    ok, detail = agrees(count, images, entry)
    if not ok:
        raise IntegrityError(f"{entry.name}: {detail}; {CAUSES}; correct these or the claim")
    said = entry.accuracy is not None or (entry.claimed is not None and entry.claimed.clean is not None)
    if not said and (odd := doubt(count, images, entry.num_classes, None)):
        raise IntegrityError(f"{entry.name}: {odd}; correct these, or claim that accuracy if it is meant")
    return detail


def require_accuracy(entry: ModelEntry, path: str) -> None:
    """Refuse to publish a model whose accuracy is only claimed.

    Raises:
        UsageError: with the command that measures it.
    """
    if entry.accuracy is None:
        raise UsageError(
            f"expected a measured clean accuracy in {path}, got {'a claimed one' if entry.claimed else 'none'}; "
            f"`bench submit run {path}` measures it in seconds"
        )
