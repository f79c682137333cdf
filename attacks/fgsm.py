"""On the prediction: one gradient step to the border of the ball.

The gradient is of the cross-entropy.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, ThreatModel

from ._predictions import cross_entropy, steepest


@dataclass(frozen=True, kw_only=True)
class Fgsm(Attack):
    """x' = project(x + epsilon sign(d CE / dx)).

    Under an L2 threat the step is epsilon g / |g|. On a network that is linear in the image, no perturbation of the
    same size does more damage.

    Source:
        Goodfellow, Shlens, Szegedy 2015.
        Differs: the L2 form; the gradient of the class that the protocol explains.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Goodfellow, Shlens, Szegedy 2015"
    aim: ClassVar[Aim] = "prediction"

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """Return the (N, C, H, W) images, moved once."""
        gradient = victim.prediction_gradient(images, cross_entropy, labels)
        return project(images, images + float(threat.epsilon) * steepest(gradient, threat), threat)
