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
    """The tensors by our names, and the report of all keys."""

    tensors: dict[str, Tensor]
    """Some tensors are missing where the report is not complete."""
    report: KeyReport
    params: dict[str, Any]
    """Parameters of the architecture, from the shapes and the caller."""
    normalisation: Normalisation | None
    """The normalisation that the checkpoint holds, if any."""


def fit(
    checkpoint: Checkpoint, architecture: Component, build_network: BuildNetwork, num_classes: int, *, whose: str
) -> Fitted:
    """Return the tensors of a checkpoint by our names and layout.

    The architecture's module may have, beside `build`, a function `arrange` that changes the layout of tensors to ours,
    and a function `adopt` that reads parameters from shapes and translates names.

    Args:
        checkpoint: the tensors.
        architecture: its name, for errors, and the parameters that the shapes do not tell.
        build_network: the architecture's `build(num_classes, **params)`.
        num_classes: K, the number of logits.
        whose: owner of the parameters, named in errors.
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
