"""ART with a loss on adversarial images of the prediction."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts import Student
from bench.core.schemas.protocol import PixelFraction
from model_zoo.training.adversary import linf_pgd, linf_start
from model_zoo.training.modes import evaluating
from model_zoo.training.objectives.art import Art


@dataclass(frozen=True, kw_only=True)
class ArtAdv(Art):
    """ART's loss, with a share of adversarial cross-entropy.

    (1 - share) CE(z(x'), y) + share CE(z(x''), y) + weight * ART's triplet. x' is the image that ART's search found,
    x'' the one that PGD on the prediction found.

    Source:
        Singh et al. 2020, appendix C, "ART + adversarial loss".
        Differs: the paper leaves open the term's share and steps; see `Art` for the rest.
    """

    version: ClassVar[int] = 1

    share: float = Field(default=0.5, ge=0, le=1)
    """Share of the cross-entropy that is taken on PGD's image rather than on that of ART's search."""
    pgd_step_size: PixelFraction = Field(default="2/255", validate_default=True)
    """Length of PGD's steps in each pixel, in pixel units."""
    pgd_steps: int = Field(default=10, ge=1)
    """Steps of PGD."""

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Scalar loss of (N, C, H, W) images in [0, 1]."""
        epsilon, count = float(self.epsilon), len(images)
        perturbed, triplet = self.attribution_term(student, images, labels, rng)
        with evaluating(student.searched):
            adversarial = linf_pgd(
                student.searched,
                images,
                labels,
                start=linf_start(images, epsilon, rng.fork("prediction")),
                epsilon=epsilon,
                step_size=float(self.pgd_step_size),
                steps=self.pgd_steps,
                fast=student.fast,
            )
        with student.fast():
            # One pass for both, so that the batch statistics move once per step.
            logits = student.model(torch.cat([perturbed, adversarial])).float()
        terms = [F.cross_entropy(part, labels) for part in logits.split(count)]
        return (1 - self.share) * terms[0] + self.share * terms[1] + triplet
