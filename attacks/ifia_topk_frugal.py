"""The top-k attack at a lower cost.

Nodes take turns, and the search begins without looks at the real network.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.core.compute.heatmap import top_k_mask
from bench.core.contracts import View

from ._ascent import Goal, HeatmapAscent
from ._losses import mass_outside
from ._search import Search, signed_steps


@dataclass(frozen=True, kw_only=True)
class IfiaTopkFrugal(HeatmapAscent):
    """The attack `ifia-topk` with two savings.

    A step uses every `turns`-th node, by turns, and the iterates of the first steps are not candidates. A step goes
    along the sum of the last `turns` gradients, so that every node counts. A step costs two passes per node for the
    gradient and one for the look at the real network; a blind step saves the look.

    Source:
        Ghorbani, Abid, Zou 2019 (top-k).
        Differs: as `ifia-topk`, and by the two savings, which are ours. docs/search.md says what they cost.
    """

    version: ClassVar[int] = 3
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019"

    k: int = Field(default=100, ge=1)
    """How many of the clean heatmap's largest pixels are its top."""
    turns: int = Field(default=2, ge=1)
    """Number of steps in which every node is used once."""
    blind: float = Field(default=0.5, ge=0, lt=1)
    """Share of the steps, from the first on, whose iterates are not looked at on the real network."""

    def goal(self, before: View) -> Goal:
        """Return the loss and its targets."""
        return mass_outside, (top_k_mask(before.heatmap, self.k),)

    @property
    def search(self) -> Search:
        """Return a search whose nodes take turns, the first steps blind."""
        rule = partial(signed_steps, float(self.step_size))
        return Search(self.restarts, self.steps, rule, self.turns, int(self.blind * self.steps))
