"""What iterative attacks share: the memory of the best iterate, random starts, and the signed-gradient ascent."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.core.contracts import HeatmapLoss, Victim, View
from bench.core.norms import project
from bench.core.protocol import ThreatModel
from bench.core.rng import SampleRng


class BestIterate:
    """Per sample, the iterate with the lowest similarity among those that are allowed (finite similarity)."""

    def __init__(self, images: Tensor) -> None:
        self.images = images.clone()
        self.similarity = torch.full((len(images),), torch.inf, device=images.device, dtype=torch.float64)

    def update(self, images: Tensor, similarity: Tensor) -> None:
        """Keep the images whose similarity is lower than the best so far.

        As long as a sample has no allowed iterate, its latest one is kept, so that the judge sees it fail.
        """
        better = (similarity < self.similarity) | ~torch.isfinite(self.similarity)
        self.images = torch.where(better.view(-1, 1, 1, 1), images, self.images)
        self.similarity = torch.where(better, similarity.to(self.similarity), self.similarity)


def uniform_start(images: Tensor, threat: ThreatModel, rng: SampleRng) -> Tensor:
    """(N, C, H, W): each image moved by noise uniform in [-epsilon, epsilon], then projected."""
    epsilon = float(threat.epsilon)
    noise = rng.uniform(tuple(images.shape[1:]), -epsilon, epsilon).to(images)
    return project(images, images + noise, threat)


def ascend(
    victim: Victim,
    images: Tensor,
    labels: Tensor,
    loss: Callable[[View], tuple[HeatmapLoss, tuple[Tensor, ...]]],
    *,
    threat: ThreatModel,
    rng: SampleRng,
    schedule: tuple[int, int, float],
) -> Tensor:
    """Ghorbani's template: signed gradient steps on a heatmap loss, the best allowed iterate wins.

    Args:
        victim: the attacked network.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64, the explained classes.
        loss: from what the clean images show, the loss to increase and its per-sample targets.
        threat: where iterates must stay.
        rng: streams of the samples.
        schedule: restarts, steps per restart, step size in pixel units.
    Returns:
        (N, C, H, W) the best iterate of all restarts.
    """
    restarts, steps, step_size = schedule
    before = victim.observe(images, labels)
    heatmap_loss, targets = loss(before)
    best = BestIterate(images)
    for restart in range(restarts):
        current = uniform_start(images, threat, rng.fork("start", restart))
        for _ in range(steps):
            gradient = victim.loss_gradient(current, labels, heatmap_loss, *targets)
            current = project(images, current + step_size * gradient.sign(), threat)
            best.update(current, victim.similarity(before, victim.observe(current, labels)))
    return best.images
