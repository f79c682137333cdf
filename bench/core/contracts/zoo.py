"""The contract of libraries of trained networks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import nn

from bench.core.contracts.plugin import Plugin
from bench.core.errors import UsageError
from bench.core.schemas.announced import Announced
from bench.core.schemas.protocol import Component


class ZooModel(NamedTuple):
    """A trained network of another library, with the fields of its entry.

    The fields of the weights are missing.
    """

    network: nn.Module
    """Normalised images to (N, K) logits; in eval mode, as the library's own loader made it."""
    build: Callable[..., nn.Module]
    """The same network untrained: `build(num_classes, **architecture.params)`."""
    architecture: Component
    dataset: str
    num_classes: int
    shape: tuple[int, int, int]
    """(C, H, W) of its images."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    method: str
    license: str
    source: str = ""


class Zoo(Plugin, ABC):
    """A library of trained networks.

    A network is named `<name of the zoo>:<name in it>`.
    """

    version: ClassVar[int] = 1

    @abstractmethod
    def canonical(self, name: str) -> str:
        """Return the full name of a network, without a download.

        One network has one full name, whatever names the library also accepts.
        """

    def announce(self, canonical: str) -> Announced:  # noqa: ARG002 - a zoo that knows nothing ignores the name
        """Return what is known of a network without a download."""
        return Announced()

    @abstractmethod
    def fetch(self, name: str, downloads: Path) -> ZooModel:
        """Return a network, loaded by the library's own loader.

        `name` is canonical. The loader may unpickle.
        """

    def untrained(self, name: str) -> ZooModel:
        """Return the network with random weights, without a download.

        `name` is canonical.

        Raises:
            UsageError: if the library builds no untrained networks.
        """
        raise UsageError(
            f"expected a library that builds untrained networks, got {type(self).__name__} for {name}; "
            "name a network of another"
        )
