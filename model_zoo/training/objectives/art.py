"""Attributional robustness training (ART).

The image comes nearer to its own class's gradient than to the runner-up's.
"""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from bench.core.schemas.protocol import PixelFraction
from model_zoo.derivatives.second_order import only_input_gradients
from model_zoo.training.input_gradients import single
from model_zoo.training.modes import evaluating


class ClassGradients(NamedTuple):
    """(N, C, H, W) gradients of the true and the runner-up class.

    The runner-up has the largest other logit.
    """

    own: Tensor
    other: Tensor


@dataclass(frozen=True, kw_only=True)
class Art(Objective):
    """Cross-entropy plus a triplet loss on gradients.

    CE(z(x'), y) + weight * soft-margin triplet of (image, own gradient, other gradient) on x and x'. The triplet asks
    that the image be nearer, by cosine, to the gradient g+ of its own logit than to the gradient g- of the runner-up;
    x' is found by signed ascent on the same triplet, over the `top_k` largest gradient coordinates.

    Source:
        Singh et al. 2020, ART; reference code nupurkmr9/Attributional-Robustness, cifar/.
        Differs: the search and the triplet see the network in eval mode (the code stays in train mode, so that its
        gradients depend on the batch and five passes move the batch statistics); no dropout, colour jitter or rotation.
    """

    version: ClassVar[int] = 1

    epsilon: PixelFraction = Field(default="8/255", validate_default=True)
    """Radius of the ball, in pixel units."""
    step_size: PixelFraction = Field(default="5/255", validate_default=True)
    """Length of a search step in each pixel, in pixel units."""
    steps: int = Field(default=3, ge=1)
    """Steps of the search."""
    top_k: int = Field(default=1000, ge=1)
    """How many of the largest gradient coordinates the search is over."""
    weight: float = Field(default=0.5, ge=0)
    """Weight of the triplet."""
    beta: float = Field(default=50.0, gt=0)
    """Sharpness of the softplus that stands for ReLU where gradients are differentiated."""

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Scalar loss of (N, C, H, W) images in [0, 1]."""
        perturbed, triplet = self.attribution_term(student, images, labels, rng)
        with student.fast():
            logits = student.model(perturbed)
        return F.cross_entropy(logits.float(), labels) + triplet

    def attribution_term(
        self, student: Student, images: Tensor, labels: Tensor, rng: Rng
    ) -> tuple[Tensor, Tensor | float]:
        """Return the images found, (N, C, H, W), and their attribution loss.

        It is the weighted mean attribution loss of clean and found images.
        """
        smooth = student.smooth(self.beta)
        with evaluating(student.model), evaluating(smooth), student.fast():
            perturbed = self.search(student, images, labels, rng)
            both = torch.cat([images, perturbed])
            term = self.weight * self.attribution_loss(smooth, both, labels.repeat(2)).mean() if self.weight else 0.0
        return perturbed, term

    def attribution_loss(self, smooth: nn.Module, both: Tensor, labels: Tensor) -> Tensor:
        """Return the losses of clean, then found images, whose mean is trained.

        (2N, C, H, W) images and (2N,) labels to any number of losses.
        """
        return paired_triplet(smooth, both, labels)

    def harm(self, anchor: Tensor, gradients: ClassGradients) -> Tensor:
        """Return the (N,) values that the search raises.

        The anchor is the normalised image. It and the gradients are (N, C, H, W), and zero where nothing is searched.
        """
        return F.softplus(distance(anchor, gradients.own) - distance(anchor, gradients.other))

    def search(self, student: Student, images: Tensor, labels: Tensor, rng: Rng) -> Tensor:
        """(N, C, H, W): images in the ball with high triplet loss."""
        epsilon, smooth = float(self.epsilon), student.smooth(self.beta)
        low, high = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
        noise = (2 * torch.rand(images.shape, generator=rng.fork("start").generator()) - 1).to(images)
        perturbed = (images + epsilon * noise).clamp(low, high)
        mask = self.largest(student, perturbed, labels)
        for _ in range(self.steps):
            leaf = perturbed.detach().requires_grad_()
            gradients = class_gradients(smooth, leaf, labels, create_graph=True)
            anchor = _normalized(smooth, leaf) * mask
            value = self.harm(anchor, ClassGradients(gradients.own * mask, gradients.other * mask))
            with only_input_gradients():
                (ascent,) = torch.autograd.grad(value.sum(), leaf)
            perturbed = (leaf.detach() + float(self.step_size) * ascent.sign()).clamp(low, high)
        return perturbed

    def largest(self, student: Student, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W): 1 where gradients are largest, else 0."""
        leaf = images.detach().requires_grad_()
        explained = student.model(leaf).gather(1, labels.unsqueeze(1))
        (gradient,) = torch.autograd.grad(explained.sum(), leaf)
        flat = gradient.flatten(1).abs()
        chosen = flat.topk(min(self.top_k, flat.shape[1]), dim=1).indices
        return torch.zeros_like(flat).scatter_(1, chosen, 1.0).view_as(images)


def class_gradients(model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool) -> ClassGradients:
    """Return the gradients of the true and the runner-up class.

    They are taken at (N, C, H, W) `images`; the runner-up has the largest other logit.
    """
    logits = single(model(images))
    index = labels.unsqueeze(1)
    other = logits.detach().scatter(1, index, -torch.inf).argmax(1, keepdim=True)
    with only_input_gradients():
        (own,) = torch.autograd.grad(
            logits.gather(1, index).sum(), images, retain_graph=True, create_graph=create_graph
        )
        (rival,) = torch.autograd.grad(logits.gather(1, other).sum(), images, create_graph=create_graph)
    return ClassGradients(own, rival)


def paired_triplet(smooth: nn.Module, both: Tensor, labels: Tensor) -> Tensor:
    """(2N,) soft-margin triplet losses of clean, then perturbed images.

    Each image is an anchor (not differentiated); of the gradients of the pair's two images, the farther own and the
    nearer other gradient count. Gradients are with respect to the normalised image.
    """
    normalize, network = smooth.children()
    anchors = normalize(both).detach()
    gradients = class_gradients(network, anchors.clone().requires_grad_(), labels, create_graph=True)
    own = torch.stack([distance(anchors, gradients.own), distance(anchors, _partner(gradients.own))]).amax(0)
    other = torch.stack([distance(anchors, gradients.other), distance(anchors, _partner(gradients.other))]).amin(0)
    return F.softplus(own - other)


def _partner(values: Tensor) -> Tensor:
    return values.roll(len(values) // 2, 0)


def _normalized(model: nn.Module, images: Tensor) -> Tensor:
    normalized: Tensor = next(model.children())(images)
    return normalized


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Return the cosine distances of images, 0 to 2.

    (N, C, H, W) twice to (N,).
    """
    return 1 - F.cosine_similarity(a.flatten(1), b.flatten(1), dim=1)
