"""On the prediction: foolbox's projected gradient descent, an independent judge."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, PixelFraction, ThreatModel

from ._libraries import CountedModel, each_alone, import_foolbox


@dataclass(frozen=True, kw_only=True)
class FoolboxPgd(Attack):
    """`LinfPGD` or `L2PGD` of foolbox, by the threat's norm, on the cross-entropy.

    Source:
        Madry et al. 2018; Rauber, Brendel, Bethge 2017 (foolbox).
        Differs: one image at a time, seeded by its own stream. It returns the last iterate; `pgd` returns the iterate
        of the lowest margin.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Rauber, Brendel, Bethge 2017"
    aim: ClassVar[Aim] = "prediction"
    one_by_one: ClassVar[bool] = True

    steps: int = Field(default=40, ge=1)
    """Steps of the one search."""
    step_size: PixelFraction = Field(default="2/255", validate_default=True, gt=0)
    """Length of a step in pixel units: of every pixel under L-infinity, of the whole step under L2."""
    random_start: bool = True
    """Whether the search starts at a random point of the ball rather than at the image."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """Return the (N, C, H, W) last iterates."""
        foolbox = import_foolbox()
        model = foolbox.PyTorchModel(CountedModel(victim), bounds=(0, 1), device=images.device)
        kind = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}[threat.norm]
        attack = kind(abs_stepsize=float(self.step_size), steps=self.steps, random_start=self.random_start)

        def search(image: Tensor, index: int, stream: Rng) -> Tensor:  # noqa: ARG001
            found: Tensor = attack.run(model, image, labels[index : index + 1], epsilon=float(threat.epsilon))
            return found

        return each_alone(images, rng, search)
