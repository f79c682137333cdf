"""The best of many random corners of the ball, a floor.

An attack with knowledge must beat it.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, ThreatModel

from ._search import BestIterate


@dataclass(frozen=True, kw_only=True)
class RandomNoise(Attack):
    """Best of `draws` independent perturbations epsilon sign(n), n ~ N(0, I).

    They are selected like the iterates of an attack.

    Source:
        The random-sign control of Ghorbani, Abid, Zou 2019 and Kamath et al. (LENS).
        Differs: independent draws of full size rather than a random walk; as many as the attack has iterates.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019 (control)"

    draws: int = Field(default=50, ge=1)
    """Number of perturbations that are drawn; the best of them counts."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's most damaging allowed draw.

        It has the lowest similarity to the clean heatmap.
        """
        epsilon, shape = float(threat.epsilon), tuple(images.shape[1:])
        before = victim.observe(images, labels)
        best = BestIterate(images)
        for draw in range(self.draws):
            noise = rng.fork("draw", draw).normal(shape).to(images).sign()
            current = project(images, images + epsilon * noise, threat)
            best.update(current, victim.similarity(before, victim.observe(current, labels)))
        return best.images
