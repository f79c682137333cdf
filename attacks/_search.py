"""The search that iterative attacks share.

It has a memory of the best iterate, random starts, the ascent, and its step rules.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import HeatmapLoss, Victim, View
from bench.core.schemas.protocol import ThreatModel


class BestIterate:
    """The allowed iterate with the lowest similarity, per sample.

    An iterate is allowed if its similarity is finite.
    """

    def __init__(self, images: Tensor) -> None:
        self.images = images.clone()
        self.similarity = torch.full((len(images),), torch.inf, device=images.device, dtype=torch.float64)

    def update(self, images: Tensor, similarity: Tensor, rows: Tensor | slice = slice(None)) -> None:
        """Keep the images whose similarity is lower than the best before.

        `rows` says to which samples the images belong. As long as a sample has no allowed iterate, its latest one is
        kept, so that the judge sees it fail.
        """
        best = self.similarity[rows]
        better = (similarity < best) | ~torch.isfinite(best)
        self.images, self.similarity = self.images.clone(), self.similarity.clone()
        self.images[rows] = torch.where(better.view(-1, 1, 1, 1), images, self.images[rows])
        self.similarity[rows] = torch.where(better, similarity.to(best), best)


def uniform_start(images: Tensor, threat: ThreatModel, rng: SampleRng) -> Tensor:
    """(N, C, H, W): images moved by uniform noise, then projected.

    The noise is in [-epsilon, epsilon].
    """
    epsilon = float(threat.epsilon)
    noise = rng.uniform(tuple(images.shape[1:]), -epsilon, epsilon).to(images)
    return project(images, images + noise, threat)


StepRule = Callable[[int, Tensor, Tensor], Tensor]
"""From the number of a step, the current images and the gradient there to the next images, before projection."""

Objective = Callable[[View], tuple[HeatmapLoss, tuple[Tensor, ...]]]
"""From what the clean images show to the loss to increase and its per-sample targets."""


class Search(NamedTuple):
    """The restarts, steps and step rule of an ascent."""

    restarts: int
    steps: int
    """Per restart."""
    rule: Callable[[], StepRule]
    """Makes a step rule for a restart; the rule may remember earlier steps."""
    turns: int = 1
    """Number of steps in which every node of the heatmap is used once. A step goes along the sum of the last `turns`
    gradients (the stochastic average gradient of Le Roux, Schmidt, Bach 2012)."""
    blind: int = 0
    """Number of first steps whose iterates are not looked at on the real network, so that none of them can win."""


def climb(
    victim: Victim,
    images: Tensor,
    labels: Tensor,
    objective: Objective,
    *,
    threat: ThreatModel,
    rng: SampleRng,
    search: Search,
) -> Tensor:
    """Return the best allowed iterate of an ascent on a heatmap loss.

    Ghorbani's template: gradient steps from random starts.

    Args:
        victim: the attacked network.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64, the explained classes.
        objective: what to increase.
        threat: where iterates must stay.
        rng: streams of the samples.
        search: restarts, steps and step rule.
    Returns:
        (N, C, H, W) the best iterate of all restarts.
    """
    before = victim.observe(images, labels)
    loss, targets = objective(before)
    best = BestIterate(images)
    for restart in range(search.restarts):
        # Noise over all pixel values would leave nothing of the image: without a ball a search begins at the image.
        start = images if threat.unbounded else uniform_start(images, threat, rng.fork("start", restart))
        current, step = start, search.rule()
        latest: deque[Tensor] = deque(maxlen=search.turns)
        for number in range(search.steps):
            gradient = victim.loss_gradient(current, labels, loss, *targets, turn=number, turns=search.turns)
            latest.append(gradient)
            current = project(images, step(number, current, torch.stack(tuple(latest)).sum(0)), threat)
            if number >= search.blind:
                best.update(current, victim.similarity(before, victim.observe(current, labels)))
    return best.images


def signed_steps(step_size: float) -> StepRule:
    """Move every pixel value by `step_size` along its gradient's sign."""
    return lambda number, current, gradient: current + step_size * gradient.sign()  # noqa: ARG005


def momentum_steps(sizes: Sequence[float], decay: float) -> StepRule:
    """Move by `sizes[number]` along the sign of a velocity.

    The velocity is v <- decay v + g / mean|g| (Dong et al. 2018).
    """
    velocity: Tensor | None = None

    def step(number: int, current: Tensor, gradient: Tensor) -> Tensor:
        nonlocal velocity
        direction = per_mean_size(gradient)
        velocity = direction if velocity is None else decay * velocity + direction
        return current + sizes[number] * velocity.sign()

    return step


def adam_steps(learning_rate: float) -> StepRule:
    """Move by Kingma and Ba's Adam, on gradients of mean size 1.

    The moments are Adam's defaults.
    """
    first = second = torch.zeros(())

    def step(number: int, current: Tensor, gradient: Tensor) -> Tensor:
        nonlocal first, second
        direction = per_mean_size(gradient)
        first = 0.9 * first.to(direction) + 0.1 * direction
        second = 0.999 * second.to(direction) + 0.001 * direction.square()
        mean, square = first / (1 - 0.9 ** (number + 1)), second / (1 - 0.999 ** (number + 1))
        return current + learning_rate * mean / (square.sqrt() + 1e-8)

    return step


def falling_sizes(first: float, last: float, steps: int) -> list[float]:
    """Return step sizes that fall linearly from `first` to `last`."""
    return [first + (last - first) * number / max(1, steps - 1) for number in range(steps)]


def per_mean_size(gradient: Tensor) -> Tensor:
    """(N, C, H, W): gradients scaled to mean absolute value 1.

    Gradients of zeros stay zero.
    """
    # Axis by axis, so that the last bit is the same for one image as for many.
    size = gradient.abs().mean(3, keepdim=True).mean(2, keepdim=True).mean(1, keepdim=True)
    return gradient / torch.where(size == 0, torch.ones_like(size), size)
