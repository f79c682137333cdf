"""Annotations: place, shape and texture of an image's object."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor

AnnotationKind = Literal["boxes", "mask", "cues"]


class Cues(NamedTuple):
    """The two categories that an image shows."""

    groups: Tensor
    """(K,) int64: the category of each output of a network, -1 for none."""
    shape: int
    """The category whose shape it has."""
    texture: int
    """The category whose texture it has."""


@dataclass(frozen=True)
class Annotation:
    """What is known of one judged image beside its label.

    Places are in pixels of the image that the network sees, after resizing and cropping. Pixel (row i, column j) covers
    the square from (i, j) to (i + 1, j + 1).
    """

    boxes: Tensor | None = None
    """(B, 4) float64: left, top, right and lower edge of each box, or None."""
    mask: Tensor | None = None
    """(H, W) bool: the pixels of the object, or None."""
    cues: Cues | None = None
    """Categories of shape and texture, or None."""

    def has(self, kind: AnnotationKind) -> bool:
        """Return whether the sample has an annotation of a kind.

        No box at all is no annotation.
        """
        if kind == "cues":
            return self.cues is not None
        if kind == "mask":
            return self.mask is not None
        return self.boxes is not None and len(self.boxes) > 0
