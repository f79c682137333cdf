"""Fits a foreign checkpoint to one of our architectures.

Every key is accounted for.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.core.errors import BenchError
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
    stripped, normalisation = strip(checkpoint.tensors)
    tensors, told, names = _adopted(stripped, build_network)
    params = {**told, **architecture.params}
    whole = Component(name=architecture.name, params=params)
    network = construct(build_network, num_classes, whole, whose=whose)
    placed, report = translate(tensors, network.state_dict(), names)
    return Fitted(placed, report, params, normalisation)


class Likeness(NamedTuple):
    """The number of tensors with a partner of the same shape."""

    architecture: str
    same: int
    of: int
    """Number of tensors of the one of both that has more."""

    @property
    def share(self) -> float:
        """Return the share of tensors with a partner."""
        return self.same / self.of


def alike(checkpoint: Checkpoint, builds: Mapping[str, BuildNetwork], num_classes: int) -> list[Likeness]:
    """Return architectures, those with the checkpoint's shapes first.

    Names do not count. An architecture that cannot be built from the shapes alone is left out.

    Args:
        checkpoint: the tensors.
        builds: the architectures by name.
        num_classes: K, the number of logits.
    """
    tensors, _ = strip(checkpoint.tensors)
    found = []
    for name, build_network in builds.items():
        try:
            arranged, told, _ = _adopted(tensors, build_network)
            with torch.device("meta"):
                network = construct(build_network, num_classes, Component(name=name, params=told), whose=name)
        except BenchError:
            continue
        theirs, ours = (_shapes(each) for each in (arranged, network.state_dict()))
        found.append(Likeness(name, (theirs & ours).total(), max(theirs.total(), ours.total())))
    return sorted(found, key=lambda each: -each.share)


def _shapes(tensors: Mapping[str, Tensor]) -> Counter[tuple[int, ...]]:
    """Count the shapes of tensors.

    Numbers alone, such as counters, are left out.
    """
    return Counter(tuple(tensor.shape) for tensor in tensors.values() if tensor.dim())


def _adopted(
    tensors: dict[str, Tensor], build_network: BuildNetwork
) -> tuple[dict[str, Tensor], dict[str, int], dict[str, str | None]]:
    """Return tensors in an architecture's layout.

    The parameters that shapes tell, and the names of the tensors, come with them.
    """
    module = inspect.getmodule(build_network)
    arrange, adopt = (getattr(module, hook, None) for hook in ("arrange", "adopt"))
    if arrange is not None:
        tensors = arrange(tensors)
    if adopt is None:
        return tensors, {}, {}
    told, names = adopt({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    return tensors, told, names
