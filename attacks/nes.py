"""Black-box: estimates the gradient of the map distance from pairs of noisy looks (natural evolution strategy)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from attacks._losses import cosine_distance
from attacks._search import BestIterate, uniform_start
from bench.core.contracts import Attack, Victim
from bench.core.norms import project
from bench.core.protocol import Knowledge, PixelFraction, ThreatModel
from bench.core.rng import SampleRng


@dataclass(frozen=True, kw_only=True)
class Nes(Attack):
    """Signed steps along sum_t (D(x' + sigma n_t) - D(x' - sigma n_t)) n_t, D = 1 - cosine to the clean heatmap.

    n_t ~ N(0, I), fresh at every step. The attack sees logits and heatmaps of the real network only: where it beats an
    attack with gradients, those were masked.

    Source:
        Ilyas et al. 2018 (NES); on explanations Tamam et al. 2022 (AttaXAI). Reference code:
        razla/Foiling-Explanations-in-Deep-Neural-Networks.
        Differs: untargeted, so that it compares with white-box attacks; antithetic Gaussian pairs, fixed sigma, signed
        steps; inside the ball; the best iterate by the protocol's primary metric.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "black-box"
    source: ClassVar[str] = "Ilyas et al. 2018; Tamam et al. 2022"

    steps: int = Field(default=50, ge=1)
    step_size: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    restarts: int = Field(default=1, ge=1)
    draws: int = Field(default=10, ge=1)
    sigma: PixelFraction = Field(default="2/255", validate_default=True, gt=0)

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): per image the allowed iterate with the lowest similarity to the clean heatmap."""
        before, best = victim.observe(images, labels), BestIterate(images)
        shape, sigma = tuple(images.shape[1:]), float(self.sigma)
        for restart in range(self.restarts):
            current = uniform_start(images, threat, rng.fork("start", restart))
            for step in range(self.steps):
                estimate = torch.zeros_like(images)
                for draw in range(self.draws):
                    noise = rng.fork("noise", restart, step, draw).normal(shape).to(images)
                    around = [(current + side * noise).clamp(0, 1) for side in (sigma, -sigma)]
                    looks = [victim.observe(each, labels).heatmap for each in around]
                    ahead, behind = (cosine_distance(look, before.heatmap) for look in looks)
                    estimate += (ahead - behind).view(-1, 1, 1, 1) * noise
                current = project(images, current + float(self.step_size) * estimate.sign(), threat)
                best.update(current, victim.similarity(before, victim.observe(current, labels)))
        return best.images
