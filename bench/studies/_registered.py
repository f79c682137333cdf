"""Registered image sets and networks, as studies use them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import nn

from bench import registry
from bench.core.contracts import Dataset
from bench.core.errors import UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component
from model_zoo.build import build
from model_zoo.hub import resolve


class Network(NamedTuple):
    """A registered network that is not built yet."""

    entry: ModelEntry
    on: Callable[[torch.device], nn.Module]
    """Builds it on a device."""


def dataset_of(name: str) -> Dataset:
    """Return an image set by its name."""
    dataset: Dataset = registry.instantiate("datasets", Component(name=name))
    return dataset


def network_of(name: str, dataset: str) -> Network:
    """Return a registered network, its weights checked.

    Raises:
        UsageError: if it was trained on another image set.
    """
    entry, _, path = resolve(f"hub:{name}")
    if entry.dataset != dataset:
        raise UsageError(f"expected a network of {dataset}, got {name} of {entry.dataset}; choose another")
    architecture = registry.load("architectures", entry.architecture.name)
    return Network(entry, lambda device: build(entry, architecture, path, device=device))
