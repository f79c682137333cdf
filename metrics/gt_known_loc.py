"""Whether the box from the heatmap finds the object."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.core.contracts import Annotation, AnnotationKind

from ._places import Map, Thresholded, box_around, overlap


@dataclass(frozen=True, kw_only=True)
class GtKnownLoc(Thresholded):
    """Localisation by a box, whatever the predicted class, 1 or 0.

    1 if the box around the largest part of the thresholded map overlaps one of the annotated boxes by at least `iou`
    (intersection over union), else 0. Neutral: it says how good a map is, not how far it moved.

    Source:
        Choe, Shim 2019 (ADL), section 4, GT-known Loc; on gradient maps Singh et al. 2020, code of their localisation.
        Differs: each map is scaled by itself (the code scales by the batch); the map is cut at a share of its largest
        value (the code first draws it in the cubehelix colours and turns these into grey); disjoint boxes overlap by 0
        (the code multiplies two negative sides); edges are real numbers, without one pixel added.
    """

    version: ClassVar[int] = 1
    needs: ClassVar[tuple[AnnotationKind, ...]] = ("boxes",)

    iou: float = Field(default=0.5, gt=0, le=1)
    """Least overlap of a hit."""

    def value(self, heatmap: Map, place: Annotation, correct: bool) -> float:  # noqa: ARG002 - the class is known
        """Return 1 for a hit, else 0."""
        return float(overlap(box_around(self.foreground(heatmap)), place.boxes) >= self.iou)
