"""The loss that IG-Norm and IG-SUM-Norm share.

It is the size of the cross-entropy's integrated gradients from an image to its neighbour.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from bench.core.schemas.protocol import PixelFraction
from model_zoo.training.adversary import Gain, linf_ascent, linf_start
from model_zoo.training.input_gradients import cross_entropy, input_gradients, loss_of_input_gradients
from model_zoo.training.modes import evaluating


@dataclass(frozen=True, kw_only=True)
class IgObjective(Objective):
    """Cross-entropy plus `weight` times R.

    R is the L1 norm of the cross-entropy's integrated gradients from x to x'. R = sum over pixels of |(x' - x) * 1/m
    sum_i grad CE(x + i/m (x' - x))|, i = 1 ... m: right Riemann, `nodes` points; the search for x' makes do with
    `search_nodes`.
    """

    epsilon: PixelFraction = Field(default="8/255", validate_default=True)
    """Radius of the ball, in pixel units."""
    step_size: PixelFraction = Field(default="2/255", validate_default=True)
    """Length of a search step in each pixel, in pixel units."""
    steps: int = Field(default=7, ge=1)
    """Steps of the search."""
    nodes: int = Field(default=50, ge=1)
    """Points of the integral in the loss."""
    search_nodes: int = Field(default=5, ge=1)
    """Points of the integral in the search."""
    weight: float = Field(default=1.0, ge=0)
    """Weight of the regulariser R."""

    @abstractmethod
    def gain(self, student: Student, images: Tensor, labels: Tensor) -> Gain:
        """Return what the search for x' maximises."""

    @abstractmethod
    def classified(self, images: Tensor, perturbed: Tensor) -> Tensor:
        """(N, C, H, W): the images of the cross-entropy, x or x'."""

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Scalar mean loss of (N, C, H, W) images in [0, 1]."""
        with evaluating(student.model), evaluating(student.curved), student.fast():
            perturbed = self.search(student, images, labels, rng)
            penalty = norm_for_weights(student.curved, images, perturbed, labels, self.nodes) / len(images)
        with student.fast():
            logits = student.model(self.classified(images, perturbed))
        return F.cross_entropy(logits.float(), labels) + self.weight * penalty

    def search(self, student: Student, images: Tensor, labels: Tensor, rng: Rng) -> Tensor:
        """(N, C, H, W): images x' in the ball with high gain.

        Signed ascent finds them from a random start.
        """
        epsilon = float(self.epsilon)
        return linf_ascent(
            self.gain(student, images, labels),
            images,
            start=linf_start(images, epsilon, rng),
            epsilon=epsilon,
            step_size=float(self.step_size),
            steps=self.steps,
        )


def norm_for_search(model: nn.Module, images: Tensor, perturbed: Tensor, labels: Tensor, nodes: int) -> Tensor:
    """Return R, summed over N images, with a graph to `perturbed`.

    The path and the factor both follow it.
    """
    points, truth = _path(images, perturbed, labels, nodes)
    gradients = input_gradients(model, points, truth, cross_entropy, create_graph=True)
    return _norm(gradients, perturbed - images)


def norm_for_weights(model: nn.Module, images: Tensor, perturbed: Tensor, labels: Tensor, nodes: int) -> Tensor:
    """Return R, summed over N images, with exact weight gradients."""
    points, truth = _path(images, perturbed, labels, nodes)
    difference = (perturbed - images).detach()
    return loss_of_input_gradients(model, points, truth, cross_entropy, lambda g: _norm(g, difference))


def _path(images: Tensor, perturbed: Tensor, labels: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Return (N * nodes, C, H, W) points and their labels.

    They are ordered image by image; the labels are (N * nodes,).
    """
    shares = torch.arange(1, nodes + 1, device=images.device).to(images).view(1, -1, 1, 1, 1) / nodes
    points = images.unsqueeze(1) + shares * (perturbed - images).unsqueeze(1)
    return points.flatten(0, 1), labels.repeat_interleave(nodes)


def _norm(gradients: Tensor, difference: Tensor) -> Tensor:
    average = gradients.view(len(difference), -1, *difference.shape[1:]).mean(1)
    return (difference * average).abs().sum()
