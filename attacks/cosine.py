"""Dense attack that lowers the cosine of whole heatmaps."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from bench.core.contracts import View

from ._ascent import Goal, HeatmapAscent
from ._losses import cosine_distance


@dataclass(frozen=True, kw_only=True)
class Cosine(HeatmapAscent):
    """Increase 1 - cosine of the heatmaps by signed gradient steps.

    The cosine is of the angle between the heatmaps of x' and x. Every pixel counts, while the top-k attack sees its
    mask alone. It is the natural adversary of full-map metrics.

    Source:
        Ivankay et al. 2021 (FAR).
        Differs: on heatmaps without signs and channels, as protocols compare them; random start; the best iterate by
        the protocol's primary metric.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Ivankay et al. 2021"

    def goal(self, before: View) -> Goal:
        """Return the loss and its targets."""
        return cosine_distance, (before.heatmap,)
