"""Whether class and mask from the heatmap are both right."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.core.contracts import Annotation

from ._places import Map
from .mask_iou import MaskIou


@dataclass(frozen=True, kw_only=True)
class Top1Seg(MaskIou):
    """Segmentation of a correctly classified image, 1 or 0.

    1 where `mask-iou` is at least `iou` and the predicted class of the same image is the label, else 0.

    Source:
        Singh et al. 2020, Top-1 Seg on flowers.
        Differs: the paper does not give the least overlap; here 0.5, as for boxes.
    """

    version: ClassVar[int] = 1

    iou: float = Field(default=0.5, gt=0, le=1)
    """Least overlap of a hit."""

    def value(self, heatmap: Map, place: Annotation, correct: bool) -> float:
        """Return 1 for a hit with the right class, else 0."""
        return float(correct and super().value(heatmap, place, correct) >= self.iou)
