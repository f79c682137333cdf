"""The best iterate of a random walk, a floor without knowledge."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel

from ._search import BestIterate


@dataclass(frozen=True, kw_only=True)
class RandomWalk(Attack):
    """Best iterate of a random walk of signed steps.

    x <- project(x + step_size sign(n)), n ~ N(0, I) drawn at every step. The best iterate of all restarts counts.

    Source:
        The random-sign control of Ghorbani, Abid, Zou 2019. Reference code: amiratag/InterpretationFragility.
        Differs: the reference selects the iterate by its own measure (top-k intersection or center of mass) and
        gives an image without an allowed iterate the similarity 1; here the protocol's primary metric selects, and the
        judge finds such an image infeasible. `random-noise` draws independent perturbations of full size instead, a
        stronger floor.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "Ghorbani, Abid, Zou 2019 (control)"

    steps: int = Field(default=50, ge=1)
    """Steps per restart."""
    step_size: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    """Length of a step in each pixel, in pixel units."""
    restarts: int = Field(default=1, ge=1)
    """Number of searches, each from its own random start; the best iterate of all searches counts."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's most damaging allowed iterate.

        It has the lowest similarity to the clean heatmap.
        """
        before, shape = victim.observe(images, labels), tuple(images.shape[1:])
        best = BestIterate(images)
        for restart in range(self.restarts):
            current = images
            for step in range(self.steps):
                noise = rng.fork("walk", restart, step).normal(shape).to(images).sign()
                current = project(images, current + float(self.step_size) * noise, threat)
                best.update(current, victim.similarity(before, victim.observe(current, labels)))
        return best.images
