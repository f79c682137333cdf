"""Black-box: climbs the metric itself by estimates from pairs of noisy looks (natural evolution strategy)."""

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
    """Steps along the sign of v <- decay v + g / mean|g|, g = sum_t (D(x' + sigma n_t) - D(x' - sigma n_t)) n_t.

    D is minus the protocol's primary metric between the clean heatmap and that of the noisy image, on the real network:
    no gradient is asked for, so it need not have one. A pair of which one changed the class counts for nothing. Where
    this beats an attack with gradients, those were masked.

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
    """Steps of each restart."""
    step_size: PixelFraction = Field(default="4/255", validate_default=True, gt=0)
    """Length of a step in each pixel, in pixel units."""
    decay: float = Field(default=0.9, ge=0, lt=1)
    """What is left of the velocity at each step; 0 is a search without momentum."""
    restarts: int = Field(default=1, ge=1)
    """Searches from random starts of their own; the best iterate of all of them counts."""
    draws: int = Field(default=10, ge=1)
    """Pairs of noisy images whose heatmaps estimate the gradient of a step."""
    sigma: PixelFraction = Field(default="2/255", validate_default=True, gt=0)
    """Standard deviation of their noise, in pixel units."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): per image the allowed iterate with the lowest similarity to the clean heatmap."""
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
