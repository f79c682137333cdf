"""Iterative feature-importance attack that drags the heatmap's center of mass away."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from attacks._losses import center_distance, center_of
from attacks._search import ascend
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel


@dataclass(frozen=True, kw_only=True)
class IfiaMassCenter(Attack):
    """Increase D(x') = |C(x') - C(x)|^2, C the heatmap's center of mass in pixels, by signed gradient steps.

    Source:
        Ghorbani, Abid, Zou 2019, algorithm 1 (mass-center). Reference codes: amiratag/InterpretationFragility,
        jfc43/robust-attribution-regularization.
        Differs: centers are real numbers, and C(x) is the real network's, where the references truncate both to whole
        pixels and take C(x) on the softplus network; random start, without which D would begin with a zero gradient;
        the best iterate by the protocol's primary metric.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019"

    steps: int = Field(default=50, ge=1)
    """Steps of each restart."""
    step_size: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    """Length of a step in each pixel, in pixel units."""
    restarts: int = Field(default=1, ge=1)
    """Searches from random starts of their own; the best iterate of all of them counts."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): per image the allowed iterate with the lowest similarity to the clean heatmap."""
        return ascend(
            victim,
            images,
            labels,
            lambda before: (center_distance, (center_of(before.heatmap),)),
            threat=threat,
            rng=rng,
            schedule=(self.restarts, self.steps, float(self.step_size)),
        )
