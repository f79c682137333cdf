"""Black-box: climbs the metric with gradients estimated from noisy looks (NES)."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel

from ._search import BestIterate, momentum_steps, uniform_start


@dataclass(frozen=True, kw_only=True)
class Nes(Attack):
    """Signed steps along gradients that are estimated from pairs of looks.

    Steps go along the sign of v <- decay v + g / mean|g|, with g = sum_t (D(x' + sigma n_t) - D(x' - sigma n_t)) n_t. D
    is minus the protocol's primary metric between the heatmaps of the clean and the noisy image, on the real network.
    No gradient is used, so D need not have one. A pair does not count if one of its images changed the class. Where
    this attack beats an attack with gradients, the gradients were masked.

    Source:
        Ilyas et al. 2018 (NES); on explanations Tamam et al. 2022 (AttaXAI). Reference code:
        razla/Foiling-Explanations-in-Deep-Neural-Networks.
        Differs: AttaXAI lowers the distance to a target map and the change of outputs, with Adam, a learned sigma, and
        50 000 looks; here antithetic pairs of fixed sigma, momentum and signed steps inside the ball; the best iterate.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "black-box"
    source: ClassVar[str] = "Ilyas et al. 2018; Tamam et al. 2022"

    steps: int = Field(default=50, ge=1)
    """Steps per restart."""
    step_size: PixelFraction = Field(default="4/255", validate_default=True, gt=0)
    """Length of a step in each pixel, in pixel units."""
    decay: float = Field(default=0.9, ge=0, lt=1)
    """Share of the velocity that stays at a step; 0 is a search without momentum."""
    restarts: int = Field(default=1, ge=1)
    """Number of searches, each from its own random start; the best iterate of all searches counts."""
    draws: int = Field(default=10, ge=1)
    """Pairs of noisy images whose heatmaps estimate the gradient of a step."""
    sigma: PixelFraction = Field(default="2/255", validate_default=True, gt=0)
    """Standard deviation of the noise, in pixel units."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's most damaging allowed iterate.

        It has the lowest similarity to the clean heatmap.
        """
        before, best = victim.observe(images, labels), BestIterate(images)
        shape, sigma = tuple(images.shape[1:]), float(self.sigma)
        for restart in range(self.restarts):
            current = uniform_start(images, threat, rng.fork("start", restart))
            rule = momentum_steps([float(self.step_size)] * self.steps, self.decay)
            for step in range(self.steps):
                estimate = torch.zeros_like(images)
                for draw in range(self.draws):
                    noise = rng.fork("noise", restart, step, draw).normal(shape).to(images)
                    around = [(current + side * noise).clamp(0, 1) for side in (sigma, -sigma)]
                    ahead, behind = (victim.similarity(before, victim.observe(each, labels)) for each in around)
                    rise = (behind - ahead).nan_to_num(0, 0, 0).to(images)
                    estimate += rise.view(-1, 1, 1, 1) * noise
                current = project(images, rule(step, current, estimate), threat)
                best.update(current, victim.similarity(before, victim.observe(current, labels)))
        return best.images
