"""The top-k attack with a stronger search: momentum on the gradient, and steps that fall in size."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from attacks._search import Search, climb, falling_sizes, momentum_steps
from attacks.ifia_topk import outside_of_top
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel


@dataclass(frozen=True, kw_only=True)
class IfiaTopkMomentum(Attack):
    """Increase the loss of `ifia-topk` along the sign of v <- decay v + g / mean|g|, in steps of falling size.

    Source:
        Ghorbani, Abid, Zou 2019 (top-k loss); Dong et al. 2018 (momentum).
        Differs: the step size falls, by a constant difference. Otherwise as `ifia-topk`, at the same cost.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019; Dong et al. 2018"

    steps: int = Field(default=50, ge=1)
    """Steps of each restart."""
    first_step: PixelFraction = Field(default="2/255", validate_default=True, gt=0)
    """Length of the first step in each pixel, in pixel units."""
    last_step: PixelFraction = Field(default="1/1020", validate_default=True, gt=0)
    """Length of the last step; those between fall by a constant difference."""
    decay: float = Field(default=0.75, ge=0, lt=1)
    """What is left of the velocity at each step; 0 is a search without momentum."""
    restarts: int = Field(default=1, ge=1)
    """Searches from random starts of their own; the best iterate of all of them counts."""
    k: int = Field(default=100, ge=1)
    """How many of the clean heatmap's largest pixels are its top."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): per image the allowed iterate with the lowest similarity to the clean heatmap."""
        sizes = falling_sizes(float(self.first_step), float(self.last_step), self.steps)
        search = Search(self.restarts, self.steps, lambda: momentum_steps(sizes, self.decay))
        return climb(
            victim,
            images,
            labels,
            outside_of_top(self.k),
            threat=threat,
            rng=rng,
            search=search,
        )
