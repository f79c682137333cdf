"""The contract of data sets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from bench.core.contracts.annotation import Annotation, AnnotationKind
from bench.core.contracts.plugin import Plugin
from bench.core.schemas.geometry import Geometry


class Split(NamedTuple):
    """Stored images, (N, C, H, W) uint8, and their labels, (N,) int64."""

    images: Tensor
    labels: Tensor


class Dataset(Plugin, ABC):
    """A labelled image set, read from a data folder."""

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]]
    shape: ClassVar[tuple[int, int, int] | None] = None
    """(C, H, W) of its images, for networks and protocols that are made for another size."""
    geometry: ClassVar[Geometry | None] = None
    """How its images are made of pictures of any size; None if they come as they are."""
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    epsilon: ClassVar[Fraction] = Fraction(8, 255)
    """The L-infinity radius, in pixel units, at which the literature of this set measures robust accuracy."""

    shows_images: ClassVar[bool] = True
    """Whether its terms allow pages to show its images; if not, they show outlines."""
    annotates: ClassVar[tuple[AnnotationKind, ...]] = ()
    """The kinds of annotation that it has."""

    @abstractmethod
    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split, in their official order."""

    def annotations(self, split: Literal["train", "test"]) -> tuple[Annotation, ...]:  # noqa: ARG002 - none here
        """Return one annotation per image of a split.

        They are in the order of `load`. Return nothing if the data set has none.
        """
        return ()

    @abstractmethod
    def is_stored(self) -> bool:
        """Return whether the images are on this machine.

        Then `load` needs no network.
        """
