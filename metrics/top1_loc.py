"""Whether class and box from the heatmap are both right."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from bench.core.contracts import Annotation

from ._places import Map
from .gt_known_loc import GtKnownLoc


@dataclass(frozen=True, kw_only=True)
class Top1Loc(GtKnownLoc):
    """Localisation by a box of a correctly classified image, 1 or 0.

    1 where `gt-known-loc` is 1 and the predicted class of the same image is the label, else 0. Its mean over all images
    is the Top-1 localisation of the papers.

    Source:
        Choe, Shim 2019 (ADL), section 4, Top-1 Loc; Russakovsky et al. 2015, with one guess instead of five.
        Differs: as `gt-known-loc`.
    """

    version: ClassVar[int] = 1

    def value(self, heatmap: Map, place: Annotation, correct: bool) -> float:
        """Return 1 for a hit with the right class, else 0."""
        return float(correct) * super().value(heatmap, place, correct)
