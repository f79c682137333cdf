"""Overlap of the thresholded heatmap with the object's mask."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from bench.core.contracts import Annotation, AnnotationKind

from ._places import Map, Thresholded, mask_overlap


@dataclass(frozen=True, kw_only=True)
class MaskIou(Thresholded):
    """Intersection over union of the thresholded map and the mask.

    All parts of the thresholded map count. Neutral: it says how good a map is, not how far it moved.

    Source:
        Singh et al. 2020, the segmentation of flowers by gradient maps.
        Differs: the paper gives no threshold for flowers; here the one of its boxes.
    """

    version: ClassVar[int] = 1
    needs: ClassVar[tuple[AnnotationKind, ...]] = ("mask",)

    def value(self, heatmap: Map, place: Annotation, correct: bool) -> float:  # noqa: ARG002 - the class is known
        """Return the overlap, from 0 to 1."""
        return mask_overlap(self.foreground(heatmap), place.mask)
