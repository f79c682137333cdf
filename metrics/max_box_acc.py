"""Whether the box from the heatmap finds the object at any threshold."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Annotation, AnnotationKind, Pair

from ._places import Localisation, Map, box_around, overlap


@dataclass(frozen=True, kw_only=True)
class MaxBoxAcc(Localisation):
    """Localisation by a box at the best threshold, 1 or 0.

    At each of equally spaced thresholds a sample has 1 if the box around the largest part of the thresholded map
    overlaps an annotated box by at least `iou`, else 0. These values stand at the levels, whose largest mean is the
    MaxBoxAcc of the paper. The metric's own value is 1 if any threshold of this very image hits, which is never less.

    Source:
        Choe et al. 2020, "Evaluating weakly supervised object localization methods right", MaxBoxAcc.
        Differs: the map is filtered first, as gradient maps need it; 19 thresholds instead of 1,000 unless the protocol
        asks for more.
    """

    version: ClassVar[int] = 1
    needs: ClassVar[tuple[AnnotationKind, ...]] = ("boxes",)

    iou: float = Field(default=0.5, gt=0, le=1)
    """Least overlap of a hit."""
    thresholds: int = Field(default=19, ge=1, le=999)
    """Number of thresholds, equally spaced between 0 and 1, without these two."""

    def value(self, heatmap: Map, place: Annotation, correct: bool) -> float:
        """Return 1 if any threshold hits, else 0."""
        return float(self._hits(heatmap, place, correct).max())

    def by_level(self, pair: Pair) -> dict[str, Tensor]:
        """Return the hits, (N,) float64, by threshold."""
        hits = self.each(pair, self._hits).view(len(pair.labels), -1).expand(-1, self.thresholds)
        return {f"{level:.3g}": column for level, column in zip(self._levels(), hits.unbind(1), strict=True)}

    def _hits(self, heatmap: Map, place: Annotation, correct: bool) -> Map:  # noqa: ARG002 - the class is known
        filtered = self.filtered(heatmap)
        overlaps = [overlap(box_around(filtered >= level), place.boxes) for level in self._levels()]
        return (np.array(overlaps) >= self.iou).astype(np.float64)

    def _levels(self) -> list[float]:
        return [(1 + step) / (1 + self.thresholds) for step in range(self.thresholds)]
