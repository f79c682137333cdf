"""Iterative feature-importance attack that drags the heatmap's center of mass away."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from bench.core.contracts import View

from ._ascent import Goal, HeatmapAscent
from ._losses import center_distance, center_of


@dataclass(frozen=True, kw_only=True)
class IfiaMassCenter(HeatmapAscent):
    """Increase D(x') = |C(x') - C(x)|^2 by signed gradient steps.

    C is the heatmap's center of mass in pixels.

    Source:
        Ghorbani, Abid, Zou 2019, algorithm 1 (mass-center). Reference codes: amiratag/InterpretationFragility,
        jfc43/robust-attribution-regularization.
        Differs: centers are real numbers, and C(x) is the real network's, where the references truncate both to whole
        pixels and take C(x) on the softplus network; random start, without which D would begin with a zero gradient;
        the best iterate by the protocol's primary metric.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019"

    def goal(self, before: View) -> Goal:
        """Return the loss and its targets."""
        return center_distance, (center_of(before.heatmap),)
