"""Fits a foreign checkpoint to one of our architectures.

Every key is accounted for.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from torch import Tensor

from bench.core.schemas.protocol import Component
from model_zoo.build import BuildNetwork, construct
from model_zoo.foreign.names import Checkpoint, KeyReport, Normalisation, strip, translate


class Fitted(NamedTuple):
    """Tensors by our names, and how they came to be."""

    tensors: dict[str, Tensor]
    """Incomplete where the report is."""
    report: KeyReport
    params: dict[str, Any]
    """Of the architecture, as the shapes and the caller say."""
    normalisation: Normalisation | None
    """The checkpoint's own."""


def fit(
    checkpoint: Checkpoint, architecture: Component, build_network: BuildNetwork, num_classes: int, *, whose: str
) -> Fitted:
    """Give the tensors of a checkpoint our names and layout.

    Beside `build`, the architecture's module may have `arrange`, which lays tensors out as ours, and `adopt`, which
    tells parameters from shapes and translates names.

    Args:
        checkpoint: the tensors.
        architecture: its name, for errors, and the parameters that the shapes do not tell.
        build_network: the architecture's `build(num_classes, **params)`.
        num_classes: K, the number of logits.
        whose: whose parameters they are, for errors.
    Raises:
        UsageError: if the architecture refuses the parameters.
    """
    tensors, normalisation = strip(checkpoint.tensors)
    module = inspect.getmodule(build_network)
    arrange, adopt = (getattr(module, hook, None) for hook in ("arrange", "adopt"))
    if arrange is not None:
        tensors = arrange(tensors)
    told, names = ({}, {}) if adopt is None else adopt({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    params = {**told, **architecture.params}
    whole = Component(name=architecture.name, params=params)
    network = construct(build_network, num_classes, whole, whose=whose)
    placed, report = translate(tensors, network.state_dict(), names)
    return Fitted(placed, report, params, normalisation)
