"""Adversarial training in the L-infinity ball."""

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
class Pgd(Objective):
    """Cross-entropy on the images that `steps` steps of PGD found.

    Source:
        Madry et al. 2018; values of Singh et al. 2020 ("PGD-10").
        Differs: the adversary sees the network in eval mode, so that its passes leave the batch statistics alone.
    """

    version: ClassVar[int] = 1

    epsilon: PixelFraction
    """Radius of the ball, in pixel units."""
    step_size: PixelFraction
    """Length of a search step in each pixel, in pixel units."""
    steps: int = Field(ge=1)
    """Steps of the search."""

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
                step_size=float(self.step_size),
                steps=self.steps,
                fast=student.fast,
            )
        with student.fast():
            logits = student.model(perturbed)
        return F.cross_entropy(logits.float(), labels)
