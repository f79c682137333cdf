"""Gradient consistency between noisy and clean images.

The input gradients come near each other in length and direction.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from bench.core.schemas.protocol import PixelFraction
from model_zoo.training.adversary import linf_start
from model_zoo.training.input_gradients import input_gradients, loss_of_input_gradients, true_logit
from model_zoo.training.modes import evaluating


@dataclass(frozen=True, kw_only=True)
class GradientConsistency(Objective):
    """Cross-entropy plus distances between input gradients.

    CE(z(x), y) + l2_weight * |g - g_r|^2 + cosine_weight * (1 - cos(g, g_r)) / 2. g and g_r are the gradients of the
    true class's logit at the clean image and at one moved by uniform noise, with respect to the normalised image; g is
    a constant.

    Source:
        Joo et al. 2023, RobustAGA; reference code joshua840/RobustAGA.
        Differs: gradients come from the smooth copy in eval mode (the code trains a softplus network); noise in
        pixel units; squared lengths are sums over pixels.
    """

    version: ClassVar[int] = 1

    epsilon: PixelFraction = Field(default="4/255", validate_default=True)
    """The largest change of a pixel by the noise, in pixel units."""
    l2_weight: float = Field(default=0.01, ge=0)
    """Weight of the squared distance of the two gradients."""
    cosine_weight: float = Field(default=0.1, ge=0)
    """Weight of the cosine term."""
    beta: float = Field(default=20.0, gt=0)
    """Sharpness of the softplus that stands for ReLU where gradients are differentiated."""

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Scalar mean loss of (N, C, H, W) images in [0, 1]."""
        smooth, epsilon = student.smooth(self.beta), float(self.epsilon)
        moved = (images + linf_start(images, epsilon, rng)).clamp(0, 1)
        with evaluating(smooth), student.fast():
            penalty = self.mismatch(smooth, images, moved, labels)
        with student.fast():
            logits = student.model(images)
        return F.cross_entropy(logits.float(), labels) + penalty

    def mismatch(self, smooth: nn.Module, images: Tensor, moved: Tensor, labels: Tensor) -> Tensor:
        """Return the mean distance of moved images' gradients, weighted.

        It is a scalar; the (N, C, H, W) moved images are compared with the clean images.
        """
        normalize, network = smooth.children()
        clean = input_gradients(network, normalize(images), labels, true_logit).flatten(1)

        def distance(gradients: Tensor) -> Tensor:
            moved_gradients = gradients.flatten(1)
            length = (moved_gradients - clean).square().sum(1)
            angle = (1 - F.cosine_similarity(moved_gradients, clean, dim=1)) / 2
            return (self.l2_weight * length + self.cosine_weight * angle).mean()

        return loss_of_input_gradients(network, normalize(moved), labels, true_logit, distance)
