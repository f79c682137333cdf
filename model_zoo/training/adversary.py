"""Projected gradient descent on the prediction: the adversary inside trainings and of the accuracy measurements."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def linf_pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    start: Tensor,
    epsilon: float,
    step_size: float,
    steps: int,
    fast: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Tensor:
    """Maximise the cross-entropy in the L-infinity ball, by signed gradient steps from `images + start`.

    Args:
        model: (N, C, H, W) to (N, K) logits, in the mode in which it shall be attacked.
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
    low, high = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
    perturbed = (images + start).clamp(low, high)
    for _ in range(steps):
        leaf = perturbed.detach().requires_grad_()
        with fast():
            logits = model(leaf)
        (gradient,) = torch.autograd.grad(F.cross_entropy(logits.float(), labels, reduction="sum"), leaf)
        perturbed = (leaf.detach() + step_size * gradient.sign()).clamp(low, high)
    return perturbed
