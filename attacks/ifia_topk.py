"""Iterative feature-importance attack on the mass of the clean top-k pixels."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.core.compute.heatmap import top_k_mask
from bench.core.contracts import View

from ._ascent import Goal, HeatmapAscent
from ._losses import mass_outside


@dataclass(frozen=True, kw_only=True)
class IfiaTopk(HeatmapAscent):
    """Lower the heatmap's share in the clean top by signed gradient steps.

    D(x') = - sum over the clean top-k pixels of the sum-normalised heatmap increases.

    Source:
        Ghorbani, Abid, Zou 2019, algorithm 1 (top-k). Reference codes: amiratag/InterpretationFragility,
        jfc43/robust-attribution-regularization, nupurkmr9/Attributional-Robustness.
        Differs: the gradient is exact (the ART code drops the product-rule term of integrated gradients); random start;
        the best of x_1 .. x_P by the protocol's primary metric on the real network, where ART selects by a rank
        correlation masked to the top-k and never scores x_P; samples without an allowed iterate are kept and counted.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019"

    k: int = Field(default=100, ge=1)
    """How many of the clean heatmap's largest pixels are its top."""

    def goal(self, before: View) -> Goal:
        """Return the loss and its targets."""
        return mass_outside, (top_k_mask(before.heatmap, self.k),)
