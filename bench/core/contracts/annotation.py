"""Annotations: where the object of an image is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

AnnotationKind = Literal["boxes", "mask"]


@dataclass(frozen=True)
class Annotation:
    """The place of the labelled object in one judged image.

    Places are in pixels of the image that the network sees, after resizing and cropping. Pixel (row i, column j) covers
    the square from (i, j) to (i + 1, j + 1).
    """

    boxes: Tensor | None = None
    """(B, 4) float64: left, top, right and lower edge of each box, or None."""
    mask: Tensor | None = None
    """(H, W) bool: the pixels of the object, or None."""

    def has(self, kind: AnnotationKind) -> bool:
        """Return whether the sample has at least one box, or a mask."""
        if kind == "mask":
            return self.mask is not None
        return self.boxes is not None and len(self.boxes) > 0
