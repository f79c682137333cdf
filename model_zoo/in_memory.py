"""A module in somebody's hands, described as a network of another library is: copied, normalised, asked once."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bench.core.contracts import Dataset, ZooModel
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component
from model_zoo.build import check_logits, classifier, freeze
from model_zoo.derivatives.call_sites import separate_activations
from model_zoo.derivatives.prepare import is_same

ARCHITECTURE = "in-memory"
"""What the entry of a module calls its architecture, which has no registered name."""

Channels = float | Sequence[float] | None
"""One number for all channels, or one for each."""


def describe(
    model: nn.Module, mean: Channels, std: Channels, *, name: str, dataset: type[Dataset], images: Tensor
) -> ZooModel:
    """Return a module's copy with what an entry needs; the module itself stays as it is.

    Args:
        model: normalised (N, C, H, W) images to (N, K) logits.
        mean: of its normalisation, in pixel units.
        std: of its normalisation.
        name: of the data set that it was trained on.
        dataset: the data set itself.
        images: (N, C, H, W) float32 in [0, 1], to ask it about.
    Raises:
        UsageError: if mean or std is missing or does not fit the channels, or the module cannot be copied.
        ModelOutputError: if it does not answer with finite (N, K) logits.
    """
    if mean is None or std is None:
        raise UsageError(
            "expected mean and std of the normalisation that the module expects, got none; mean=0, std=1 if it takes "
            f"images in [0, 1] as they are, mean={dataset.mean}, std={dataset.std} if they are {name}'s usual ones"
        )
    means, stds = (_of_each(given, len(dataset.mean)) for given in (mean, std))
    if not len(means) == len(stds) == len(dataset.mean) or min(stds) <= 0:
        count = len(dataset.mean)
        raise UsageError(f"expected mean and std > 0 of {count} channels, got mean={mean}, std={std}; correct them")
    network, num_classes = _copied(model), len(dataset.classes)
    given = freeze(classifier(network, means, stds))
    check_logits(given, images, num_classes)
    separate = separate_activations(_copied(model))
    same = is_same(given, freeze(classifier(separate, means, stds)), images)
    return ZooModel(
        network=network,
        build=lambda _: _copied(separate if same else model),
        architecture=Component(name=ARCHITECTURE),
        dataset=name,
        num_classes=num_classes,
        shape=(images.shape[1], images.shape[2], images.shape[3]),
        mean=means,
        std=stds,
        method="unknown",
        license="none given",
    )


def public_name(model: nn.Module) -> str:
    """Return the name of a module's class as names of models are written."""
    words = re.findall("[a-z0-9]+", type(_inner(model)).__name__.lower())
    return "-".join(words)[:80].strip("-") or "network"


def _of_each(given: float | Sequence[float], count: int) -> tuple[float, ...]:
    return (float(given),) * count if isinstance(given, int | float) else tuple(float(value) for value in given)


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(_inner(model)).to("cpu", torch.float32).eval()
    except (RuntimeError, TypeError) as error:
        reason = str(error).split("\n")[0]
        raise UsageError(
            f"expected a module that can be copied, got: {reason}; build a fresh one and load its state dict"
        ) from error


def _inner(model: nn.Module) -> nn.Module:
    """Return the network itself, without what torch.compile and the parallel wrappers put around it."""
    if isinstance(compiled := getattr(model, "_orig_mod", None), nn.Module):
        return _inner(compiled)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return _inner(model.module)
    return model
