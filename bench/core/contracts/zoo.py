"""What a library of trained networks promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, NamedTuple

from torch import nn

from bench.core.schemas.protocol import Component


class ZooModel(NamedTuple):
    """A trained network of another library, and all that an entry says of it but its weights."""

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


class Zoo(ABC):
    """A library of trained networks, reached as `<name of the zoo>:<name in it>`."""

    version: ClassVar[int] = 1

    @abstractmethod
    def canonical(self, name: str) -> str:
        """Return the full name of what `name` stands for, so that one network has one name; no download."""

    def dataset(self, canonical: str) -> str | None:  # noqa: ARG002 - a zoo of one data set ignores the name
        """Return the data set that a network classifies, or None where only its download tells."""
        return None

    @abstractmethod
    def fetch(self, name: str, downloads: Path) -> ZooModel:
        """Load the network of a canonical name by the library's own loader, which may unpickle."""
