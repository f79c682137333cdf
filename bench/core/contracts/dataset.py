"""The contract of data sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor


class Split(NamedTuple):
    """Stored images, (N, C, H, W) uint8, and their labels, (N,) int64."""

    images: Tensor
    labels: Tensor


class Dataset(ABC):
    """A labelled image set, read from a data folder."""

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    epsilon: ClassVar[Fraction] = Fraction(8, 255)
    """The L-infinity radius, in pixel units, at which the literature of this set measures robust accuracy."""

    @abstractmethod
    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split, in their official order."""

    @abstractmethod
    def is_stored(self) -> bool:
        """Return whether the images are on this machine.

        Then `load` needs no network.
        """
