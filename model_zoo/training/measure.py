"""Accuracy of a classifier: clean, and under projected gradient descent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.training.folded import folded

BATCH = 250
WATCH_STEPS, TEST_STEPS = 10, 40
"""Of PGD, on held-out images after an epoch and on the test set."""
Fast = Callable[[], AbstractContextManager[object]]


@torch.no_grad()
def correct(
    model: nn.Module, images: Tensor, labels: Tensor, *, device: torch.device, fast: Fast = nullcontext
) -> Tensor:
    """(N,) bool: whether the predicted class is the label.

    Images are (N, C, H, W) float32 in [0, 1].
    """
    answers = []
    for part, truth in zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True):
        with fast():
            answers.append(model(_place(part, device)).argmax(1).cpu() == truth)
    return torch.cat(answers)


def accuracy(
    model: nn.Module, images: Tensor, labels: Tensor, *, device: torch.device, fast: Fast = nullcontext
) -> float:
    """Share of images whose largest logit is the label's."""
    return float(correct(model, images, labels, device=device, fast=fast).float().mean())


def robust_correct(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    rng: Rng,
    device: torch.device,
    fast: Fast = nullcontext,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Tensor:
    """Return which images keep their label under PGD.

    The label must stay at every iterate; the search has a random start. An image leaves the search as soon as one
    iterate is misclassified: the count is at most that of the last iterate. Gradients may come from fast passes; that
    an image is misclassified is confirmed in full precision.

    Args:
        model: (N, C, H, W) to (N, K) logits, in eval mode.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64.
        epsilon: radius of the L-infinity ball, in pixel units.
        step_size: in pixel units.
        steps: number of gradient steps.
        rng: stream of the random starts.
        device: where to compute.
        fast: context for the passes of the search.
        progress: called with the images done and the images in all.
    Returns:
        (N,) bool.
    Source:
        Madry et al. 2018; PGD-40 of Singh et al. 2020.
        Differs: success at any iterate counts, not only at the last.
    """
    robust, searched = correct(model, images, labels, device=device), folded(model)
    alive = robust.nonzero().flatten()
    noise = torch.rand(images.shape, generator=rng.generator()) * 2 - 1
    low, high = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
    perturbed = (images + epsilon * noise).clamp(low, high)
    for step in range(steps + 1):
        survivors = []
        for part in torch.split(alive, BATCH):
            leaf = _place(perturbed[part], device).requires_grad_()
            with fast():
                logits = searched(leaf).float()
            truth = labels[part].to(device)
            stands = (logits.argmax(1) == truth).cpu()
            if len(suspects := part[~stands]):
                stands[~stands] = correct(model, perturbed[suspects], labels[suspects], device=device)
            survivors.append(part[stands])
            if step < steps:
                (gradient,) = torch.autograd.grad(F.cross_entropy(logits, truth, reduction="sum"), leaf)
                moved = perturbed[part] + step_size * gradient.sign().cpu()
                perturbed[part] = moved.clamp(low[part], high[part])
        alive = torch.cat(survivors) if survivors else alive
        progress(step + 1, steps + 1)
    robust[:] = False
    robust[alive] = True
    return robust


def _place(images: Tensor, device: torch.device) -> Tensor:
    return images.to(device).contiguous(memory_format=torch.channels_last)
