"""Iterative feature-importance attack that drives attribution mass out of the clean top-k pixels."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from attacks._search import Objective, ascend
from bench.core.compute.heatmap import normalize, top_k_mask
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel


@dataclass(frozen=True, kw_only=True)
class IfiaTopk(Attack):
    """Increase D(x') = - sum over the clean top-k pixels of the sum-normalised heatmap, by signed gradient steps.

    Source:
        Ghorbani, Abid, Zou 2019, algorithm 1 (top-k). Reference codes: amiratag/InterpretationFragility,
        jfc43/robust-attribution-regularization, nupurkmr9/Attributional-Robustness.
        Differs: the gradient is exact (the ART code drops the product-rule term of integrated gradients); random start;
        the best of x_1 .. x_P by the protocol's primary metric on the real network, where ART selects by a rank
        correlation masked to the top-k and never scores x_P; samples without an allowed iterate are kept and counted.
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
    k: int = Field(default=100, ge=1)
    """How many of the clean heatmap's largest pixels are its top."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): per image the allowed iterate with the lowest similarity to the clean heatmap."""
        return ascend(
            victim,
            images,
            labels,
            outside_of_top(self.k),
            threat=threat,
            rng=rng,
            schedule=(self.restarts, self.steps, float(self.step_size)),
        )


def outside_of_top(k: int) -> Objective:
    """Return the objective: the mass outside of the clean top-k pixels."""
    return lambda before: (mass_outside, (top_k_mask(before.heatmap, k),))


def mass_outside(heatmap: Tensor, mask: Tensor) -> Tensor:
    """(N,) minus the mass that the (N, H, W) sum-normalised heatmap has inside the mask."""
    return -(normalize(heatmap) * mask).sum((1, 2))
