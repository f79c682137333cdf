"""The top-k attack with momentum and falling steps."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.core.compute.heatmap import top_k_mask
from bench.core.contracts import View

from ._ascent import Goal, MomentumAscent
from ._losses import mass_outside


@dataclass(frozen=True, kw_only=True)
class IfiaTopkMomentum(MomentumAscent):
    """Increase the loss of `ifia-topk` by momentum steps of falling size.

    Steps go along the sign of v <- decay v + g / mean|g|.

    Source:
        Ghorbani, Abid, Zou 2019 (top-k loss); Dong et al. 2018 (momentum).
        Differs: the step size falls, by a constant difference. Otherwise as `ifia-topk`, at the same cost.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019; Dong et al. 2018"

    k: int = Field(default=100, ge=1)
    """How many of the clean heatmap's largest pixels are its top."""

    def goal(self, before: View) -> Goal:
        """Return the loss and its targets."""
        return mass_outside, (top_k_mask(before.heatmap, self.k),)
