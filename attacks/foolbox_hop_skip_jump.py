"""On the prediction, black-box: foolbox's HopSkipJump, which sees nothing but the predicted class."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from attacks._libraries import CountedModel, each_alone, import_foolbox
from bench.core.contracts import Attack, Victim
from bench.core.norms import project
from bench.core.protocol import Aim, Knowledge, ThreatModel
from bench.core.rng import Rng, SampleRng


@dataclass(frozen=True, kw_only=True)
class FoolboxHopSkipJump(Attack):
    """Walks along the border of the class towards the image, in the threat's norm, by decisions alone.

    Where it leaves fewer images right than `pgd`, the network's gradients were masked.

    Source:
        Chen, Jordan, Wainwright 2020; Rauber, Brendel, Bethge 2017 (foolbox).
        Differs: one image at a time, seeded by its own stream; what lies outside the ball is projected; an image whose
        class no random noise changes stays as it is.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "black-box"
    source: ClassVar[str] = "Chen, Jordan, Wainwright 2020"
    aim: ClassVar[Aim] = "prediction"
    one_by_one: ClassVar[bool] = True

    steps: int = Field(default=20, ge=1)
    blends: int = Field(default=50, ge=1, description="steps of the first line search, from random noise to the image")
    draws: int = Field(default=100, ge=1, description="queries for the first estimate of a border's direction")
    max_draws: int = Field(default=1000, ge=1, description="and at most, as the estimates grow finer")

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): the nearest image of another class, projected."""
        foolbox = import_foolbox()
        model = foolbox.PyTorchModel(CountedModel(victim), bounds=(0, 1), device=images.device)
        attack = foolbox.attacks.HopSkipJumpAttack(
            steps=self.steps,
            initial_gradient_eval_steps=self.draws,
            max_gradient_eval_steps=self.max_draws,
            constraint=threat.norm,
        )
        first = foolbox.attacks.LinearSearchBlendedUniformNoiseAttack(steps=self.blends)

        def search(image: Tensor, index: int, stream: Rng) -> Tensor:  # noqa: ARG001
            label = labels[index : index + 1]
            other = foolbox.criteria.Misclassification(label)
            start: Tensor = first.run(model, image, other)
            if (model(start).argmax(1) == label).all():
                return image
            found: Tensor = attack.run(model, image, other, starting_points=start)
            return project(image, found, threat)

        return each_alone(images, rng, search)
