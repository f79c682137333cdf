"""On the prediction: projected gradient ascent on a loss, in either norm."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, PixelFraction, ThreatModel

from ._predictions import LOSSES, steepest, try_on
from ._search import BestIterate, uniform_start


@dataclass(frozen=True, kw_only=True)
class Pgd(Attack):
    """Projected steps along the gradient g of a loss.

    x <- project(x + step_size d), d = sign(g) or, under an L2 threat, g / |g|. The loss is the cross-entropy, or minus
    the margin z_y - max_{j != y} z_j. A protocol of epsilon 32/255 makes it the large-epsilon generator of Aggarwal et
    al. 2020 (step_size 1.6/255, 50 steps).

    Source:
        Madry et al. 2018; the margin is Carlini and Wagner's (2017). Singh et al. 2020 evaluate with 40 steps of 2/255.
        Differs: the iterate of the lowest margin is returned, where the references return the last; a misclassified
        image on the way is not lost.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Madry et al. 2018"
    aim: ClassVar[Aim] = "prediction"

    steps: int = Field(default=40, ge=1)
    """Steps per restart."""
    step_size: PixelFraction = Field(default="2/255", validate_default=True, gt=0)
    """Length of a step in pixel units: of every pixel under L-infinity, of the whole step under L2."""
    restarts: int = Field(default=1, ge=1)
    """Number of searches, each from its own random start; the best iterate of all searches counts."""
    random_start: bool = True
    """Whether a search starts at a random point of the ball rather than at the image."""
    loss: Literal["cross-entropy", "margin"] = "cross-entropy"
    """What the steps increase: the cross-entropy, or minus the margin of the class."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's iterate of the lowest margin."""
        best = BestIterate(images)
        for restart in range(self.restarts):
            current = uniform_start(images, threat, rng.fork("start", restart)) if self.random_start else images
            for _ in range(self.steps):
                gradient = victim.prediction_gradient(current, LOSSES[self.loss], labels)
                current = project(images, current + float(self.step_size) * steepest(gradient, threat), threat)
                try_on(victim, best, current, labels)
        return best.images
