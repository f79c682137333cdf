"""The top-k attack with two savings: nodes take turns, and the search begins without looks at the real network."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from attacks._search import Search, climb, signed_steps
from attacks.ifia_topk import outside_of_top
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel


@dataclass(frozen=True, kw_only=True)
class IfiaTopkFrugal(Attack):
    """Attack as `ifia-topk`, but a step sees every `turns`-th node, by turns, and the first ones select nothing.

    A step goes along the sum of the last `turns` gradients, so that every node has its say. A step costs two passes
    per node for the gradient and one for the look at the real network, which a blind one saves.

    Source:
        Ghorbani, Abid, Zou 2019 (top-k).
        Differs: as `ifia-topk` does, and by the two savings, which are ours. What they cost: docs/search.md.
    """

    version: ClassVar[int] = 3
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019"

    steps: int = Field(default=50, ge=1)
    """Steps of each restart."""
    step_size: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    """Length of a step in each pixel, in pixel units."""
    restarts: int = Field(default=1, ge=1)
    """Searches from random starts of their own; the best iterate of all of them counts."""
    k: int = Field(default=100, ge=1)
    """How many of the clean heatmap's largest pixels are its top."""
    turns: int = Field(default=2, ge=1)
    """Steps in which each node has its turn."""
    blind: float = Field(default=0.5, ge=0, lt=1)
    """Share of the steps, from the first on, whose iterates are not looked at on the real network."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): per image the allowed iterate, of those looked at, with the lowest similarity."""
        rule = partial(signed_steps, float(self.step_size))
        search = Search(self.restarts, self.steps, rule, self.turns, int(self.blind * self.steps))
        return climb(
            victim,
            images,
            labels,
            outside_of_top(self.k),
            threat=threat,
            rng=rng,
            search=search,
        )
