"""Fast adversarial training: one signed gradient step from a random start."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from bench.core.schemas.protocol import PixelFraction
from model_zoo.training.adversary import linf_pgd, linf_start
from model_zoo.training.modes import evaluating


@dataclass(frozen=True, kw_only=True)
class Fgsm(Objective):
    """Cross-entropy on images of one signed gradient step.

    x' = clip(x + n + step_ratio * epsilon * sign grad CE(x + n)), n uniform in the ball. One step is easily overfitted:
    a recipe watches `pgd_accuracy` and ends where it collapses.

    Source:
        Wong, Rice, Kolter 2020, "Fast is better than free"; FGSM4 and FGSM8 of Zhang, Zhu 2019.
        Differs: the adversary sees the network in eval mode, so that its pass leaves the batch statistics alone.
    """

    version: ClassVar[int] = 1

    epsilon: PixelFraction
    """Radius of the ball, in pixel units."""
    step_ratio: float = Field(default=1.25, gt=0)
    """Length of the one step, as a multiple of epsilon."""

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Scalar mean cross-entropy of the perturbed (N, C, H, W) images."""
        epsilon = float(self.epsilon)
        with evaluating(student.searched):
            perturbed = linf_pgd(
                student.searched,
                images,
                labels,
                start=linf_start(images, epsilon, rng),
                epsilon=epsilon,
                step_size=self.step_ratio * epsilon,
                steps=1,
                fast=student.fast,
            )
        with student.fast():
            logits = student.model(perturbed)
        return F.cross_entropy(logits.float(), labels)
