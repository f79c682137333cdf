"""Adversarial training in the Euclidean ball."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from bench.core.schemas.protocol import PixelFraction
from model_zoo.training.adversary import l2_ascent, l2_start, prediction_gain
from model_zoo.training.modes import evaluating


@dataclass(frozen=True, kw_only=True)
class L2Pgd(Objective):
    """Cross-entropy on adversarial images of a Euclidean ball.

    `steps` normalised gradient steps find them.

    Source:
        Madry et al. 2018; the L2 rows of Zhang, Zhu 2019.
        Differs: steps along the gradient (the latter take its sign), from a start uniform in the ball; the adversary
        sees the network in eval mode.
    """

    version: ClassVar[int] = 1

    epsilon: PixelFraction
    """Euclidean radius of the ball, in pixel units."""
    step_size: PixelFraction
    """Euclidean length of a step, in pixel units."""
    steps: int = Field(ge=1)
    """Steps of the search."""

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Scalar mean cross-entropy of the perturbed (N, C, H, W) images."""
        epsilon = float(self.epsilon)
        with evaluating(student.searched):
            perturbed = l2_ascent(
                prediction_gain(student.searched, labels, student.fast),
                images,
                start=l2_start(images, epsilon, rng),
                epsilon=epsilon,
                step_size=float(self.step_size),
                steps=self.steps,
            )
        with student.fast():
            logits = student.model(perturbed)
        return F.cross_entropy(logits.float(), labels)
