"""Spatially transformed adversarial training: pixels move instead of changing."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from model_zoo.derivatives.second_order import only_input_gradients
from model_zoo.training.adversary import prediction_gain
from model_zoo.training.modes import evaluating


@dataclass(frozen=True, kw_only=True)
class StAt(Objective):
    """Cross-entropy on images that a flow field has moved.

    x'(p) = x(p + f(p)), bilinear. The flow f begins at zero and climbs the cross-entropy minus `smoothness` times its
    total variation; the steps have a fixed mean displacement, and no pixel moves farther than `reach`.

    Source:
        Xiao et al. 2018, "Spatially transformed adversarial examples"; ST-AT of Zhang, Zhu 2019. Reference code:
        PKUAI26/AT-CNN.
        Differs: a few normalised gradient steps with a bound in place of L-BFGS; the total variation is a mean over
        pixels; pixels outside the image repeat its border; the reference code's identity grid transposes images. The
        adversary sees the network in eval mode, so that its passes leave the batch statistics alone.
    """

    version: ClassVar[int] = 1

    steps: int = Field(default=2, ge=1)
    """Steps of the search."""
    step_size: float = Field(default=0.5, gt=0)
    """Root mean square of the displacement of a step over the image, in pixels."""
    reach: float = Field(default=1.0, gt=0)
    """Largest displacement of a pixel in each direction, in pixels."""
    smoothness: float = Field(default=0.05, ge=0)
    """Weight of the flow's total variation against the cross-entropy."""

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:  # noqa: ARG002 - no random start
        """Scalar mean cross-entropy of the moved (N, C, H, W) images."""
        flow = self.search(student, images, labels)
        with student.fast():
            logits = student.model(displaced(images, flow))
        return F.cross_entropy(logits.float(), labels)

    def search(self, student: Student, images: Tensor, labels: Tensor) -> Tensor:
        """Return the misleading (N, 2, H, W) flow, in pixels."""
        flow = images.new_zeros((len(images), 2, *images.shape[2:]))
        with evaluating(student.searched), only_input_gradients():
            gain = prediction_gain(student.searched, labels, student.fast)
            for _ in range(self.steps):
                leaf = flow.detach().requires_grad_()
                value = gain(displaced(images, leaf)) - self.smoothness * roughness(leaf).sum()
                (gradient,) = torch.autograd.grad(value, leaf)
                size = gradient.square().sum(1).mean((1, 2)).sqrt().clamp(min=1e-12).view(-1, 1, 1, 1)
                flow = (flow + self.step_size * gradient / size).clamp(-self.reach, self.reach)
        return flow


def displaced(images: Tensor, flow: Tensor) -> Tensor:
    """Return images that are read at moved places.

    Args:
        images: (N, C, H, W).
        flow: (N, 2, H, W) displacements right and down of the places that are read, in pixels.
    Returns:
        (N, C, H, W), bilinear between pixels; outside, the border repeats.
    """
    height, width = images.shape[2:]
    identity = torch.eye(2, 3).to(images).expand(len(images), -1, -1)
    places = F.affine_grid(identity, list(images.shape), align_corners=False)
    moved = places + flow.permute(0, 2, 3, 1) * images.new_tensor([2 / width, 2 / height])
    return F.grid_sample(images, moved, mode="bilinear", padding_mode="border", align_corners=False)


def roughness(flow: Tensor) -> Tensor:
    """Return the (N,) total variations of flows, per pixel.

    They add the lengths of the differences to a pixel's four neighbours. The flows are (N, 2, H, W).
    """
    pairs = [flow.diff(dim=axis).square().sum(1).add(1e-12).sqrt().flatten(1).sum(1) for axis in (2, 3)]
    pixels = flow.shape[2] * flow.shape[3]
    total: Tensor = 2 * (pairs[0] + pairs[1]) / pixels
    return total
