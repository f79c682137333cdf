"""Dense attack on the whole heatmap: lowers the cosine of the angle between the heatmaps."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from attacks._losses import cosine_distance
from attacks._search import ascend
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Cosine(Attack):
    """Increase D(x') = 1 - cosine of the angle between the heatmaps of x' and x, by signed gradient steps.

    Every pixel counts, where the top-k attack sees its mask alone: the natural adversary of full-map metrics.

    Source:
        Ivankay et al. 2021 (FAR).
        Differs: on heatmaps without signs and channels, as protocols compare them; random start; the best iterate by
        the protocol's primary metric.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Ivankay et al. 2021"

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
            lambda before: (cosine_distance, (before.heatmap,)),
            threat=threat,
            rng=rng,
            schedule=(self.restarts, self.steps, float(self.step_size)),
        )
