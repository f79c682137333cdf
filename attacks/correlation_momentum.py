"""The dense correlation attack with momentum and falling steps."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from bench.core.contracts import View

from ._ascent import Goal, MomentumAscent
from ._losses import correlation_distance


@dataclass(frozen=True, kw_only=True)
class CorrelationMomentum(MomentumAscent):
    """Increase the loss of `correlation` by momentum steps of falling size.

    Steps go along the sign of v <- decay v + g / mean|g|.

    Source:
        Ivankay et al. 2021 (dense loss); Dong et al. 2018 (momentum).
        Differs: the step size falls, by a constant difference. Otherwise as `correlation`, at the same cost.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Ivankay et al. 2021; Dong et al. 2018"

    def goal(self, before: View) -> Goal:
        """Return the loss and its targets."""
        return correlation_distance, (before.heatmap,)
