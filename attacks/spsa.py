"""On the prediction, black-box: descends the margin by SPSA.

Pairs of random signs estimate the gradient.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, PixelFraction, ThreatModel

from ._predictions import margin, try_on
from ._search import BestIterate, adam_steps


@dataclass(frozen=True, kw_only=True)
class Spsa(Attack):
    """Adam on a gradient that random pairs of looks estimate.

    g = sum_t (m(x' - sigma v_t) - m(x' + sigma v_t)) v_t, with random signs v_t and the class's margin m. The network's
    gradient is not used: where this attack beats `pgd`, gradients were masked.

    Source:
        Uesato et al. 2018; the estimator is Spall's (1992).
        Differs: 128 pairs a step, where the paper takes thousands; Adam sees gradients of mean size 1; queries are
        clipped to valid images; the iterate of the lowest margin.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "black-box"
    source: ClassVar[str] = "Uesato et al. 2018"
    aim: ClassVar[Aim] = "prediction"

    steps: int = Field(default=100, ge=1)
    """Steps of Adam."""
    learning_rate: PixelFraction = Field(default="1/100", validate_default=True, gt=0)
    """Adam's learning rate, in pixel units."""
    draws: int = Field(default=128, ge=1)
    """Pairs of queries that estimate the gradient of a step."""
    sigma: PixelFraction = Field(default="1/100", validate_default=True, gt=0)
    """How far from the iterate the queries lie in each pixel, in pixel units."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's iterate of the lowest margin."""
        best, rule, current = BestIterate(images), adam_steps(float(self.learning_rate)), images
        shape, sigma = tuple(images.shape[1:]), float(self.sigma)
        for step in range(self.steps):
            estimate = torch.zeros_like(images)
            for draw in range(self.draws):
                signs = rng.fork("signs", step, draw).normal(shape).to(images).sign()
                around = [(current + side * signs).clamp(0, 1) for side in (sigma, -sigma)]
                ahead, behind = (margin(victim.logits(each), labels) for each in around)
                estimate += (behind - ahead).view(-1, 1, 1, 1) * signs
            current = project(images, rule(step, current, estimate), threat)
            try_on(victim, best, current, labels)
        return best.images
