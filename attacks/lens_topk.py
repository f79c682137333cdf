"""Top-k attack on the neighbourhood of the clean top-k pixels."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.core.compute.heatmap import dilate, top_k_mask
from bench.core.contracts import View

from ._ascent import Goal, HeatmapAscent
from ._losses import mass_outside


@dataclass(frozen=True, kw_only=True)
class LensTopk(HeatmapAscent):
    """Lower the heatmap's mass inside N_w(S) by signed gradient steps.

    S is the clean top-k, N_w(S) its dilation by w rows and columns.

    Source:
        Kamath et al. 2024 (LENS). Reference code: ksandeshk/LENS.
        Differs: the reference's windows wrap around at row ends; here they end at the border. Otherwise as `ifia-topk`.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Kamath et al. 2024"

    k: int = Field(default=100, ge=1)
    """How many of the clean heatmap's largest pixels are its top."""
    window: int = Field(default=1, ge=0)
    """How many rows and columns the top is widened to each side."""

    def goal(self, before: View) -> Goal:
        """Return the loss and its targets."""
        return mass_outside, (dilate(top_k_mask(before.heatmap, self.k), self.window),)
