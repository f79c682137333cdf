"""Projected gradient ascent in a ball, for trainings and their measurements."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.norms import l2
from bench.core.compute.rng import Rng
from model_zoo.derivatives.second_order import only_input_gradients

Fast = Callable[[], AbstractContextManager[object]]
Gain = Callable[[Tensor], Tensor]
"""From (N, C, H, W) images to the scalar that an adversary raises, a sum over images."""


def prediction_gain(model: nn.Module, labels: Tensor, fast: Fast = nullcontext) -> Gain:
    """Return the summed cross-entropy of images as a gain.

    `fast` is the context of the network pass.
    """

    def gain(images: Tensor) -> Tensor:
        with fast():
            logits = model(images)
        return F.cross_entropy(logits.float(), labels, reduction="sum")

    return gain


def linf_ascent(gain: Gain, images: Tensor, *, start: Tensor, epsilon: float, step_size: float, steps: int) -> Tensor:
    """Raise a gain in the L-infinity ball by signed steps.

    The ascent begins at `images + start`.

    Args:
        gain: what the ascent increases.
        images: (N, C, H, W) float32 in [0, 1].
        start: (N, C, H, W) first perturbation, in pixel units.
        epsilon: radius of the ball, in pixel units.
        step_size: in pixel units.
        steps: number of gradient steps.
    Returns:
        (N, C, H, W) float32 in the ball and in [0, 1]: the last iterate.
    """
    low, high = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
    perturbed = (images + start).clamp(low, high)
    for _ in range(steps):
        at, gradient = _gradient(gain, perturbed)
        perturbed = (at + step_size * gradient.sign()).clamp(low, high)
    return perturbed


def l2_ascent(gain: Gain, images: Tensor, *, start: Tensor, epsilon: float, step_size: float, steps: int) -> Tensor:
    """Raise a gain in the Euclidean ball by normalised steps.

    Steps have the length `step_size`; the ascent begins at `images + start`. Arguments and result are as in
    `linf_ascent`; an iterate is projected on the ball, then clipped to [0, 1].
    """

    def project(moved: Tensor) -> Tensor:
        factor = (epsilon / l2(images, moved).clamp(min=1e-12)).clamp(max=1).view(-1, 1, 1, 1)
        return (images + factor * (moved - images)).clamp(0, 1)

    perturbed = project(images + start)
    for _ in range(steps):
        at, gradient = _gradient(gain, perturbed)
        length = l2(torch.zeros_like(gradient), gradient).clamp(min=1e-12).view(-1, 1, 1, 1)
        perturbed = project(at + step_size * gradient / length)
    return perturbed


def linf_pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    start: Tensor,
    epsilon: float,
    step_size: float,
    steps: int,
    fast: Fast = nullcontext,
) -> Tensor:
    """Maximise the cross-entropy in the L-infinity ball by `linf_ascent`.

    Args:
        model: (N, C, H, W) to (N, K) logits, in the mode in which it is attacked.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64.
        start: (N, C, H, W) first perturbation, in pixel units.
        epsilon: radius of the ball, in pixel units.
        step_size: in pixel units.
        steps: number of gradient steps.
        fast: context for the network passes.
    Returns:
        (N, C, H, W) float32 in the ball and in [0, 1]: the last iterate.
    Source:
        Madry et al. 2018. Differs: nothing.
    """
    gain = prediction_gain(model, labels, fast)
    return linf_ascent(gain, images, start=start, epsilon=epsilon, step_size=step_size, steps=steps)


def linf_start(images: Tensor, epsilon: float, rng: Rng) -> Tensor:
    """(N, C, H, W) noise, uniform in an L-infinity ball.

    Its radius is `epsilon`.
    """
    return (2 * torch.rand(images.shape, generator=rng.fork("start").generator()) - 1).to(images) * epsilon


def l2_start(images: Tensor, epsilon: float, rng: Rng) -> Tensor:
    """(N, C, H, W) noise, uniform in a Euclidean ball.

    Its radius is `epsilon`.
    """
    generator, size = rng.fork("start").generator(), images[0].numel()
    direction = torch.randn(images.shape, generator=generator)
    radius = epsilon * torch.rand(len(images), generator=generator) ** (1 / size)
    length = l2(torch.zeros_like(direction), direction)
    return (direction * (radius / length).view(-1, 1, 1, 1)).to(images)


def _gradient(gain: Gain, images: Tensor) -> tuple[Tensor, Tensor]:
    leaf = images.detach().requires_grad_()
    with only_input_gradients():
        (gradient,) = torch.autograd.grad(gain(leaf), leaf)
    return leaf.detach(), gradient
