"""Ascent with an adaptive step size per image.

The step is halved where progress stops, and the search goes on from the best iterate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Victim, View
from bench.core.schemas.protocol import ThreatModel

from ._search import BestIterate, Objective, uniform_start

MOMENTUM = 0.75
"""Weight of the new step against the previous one's direction."""

PROGRESS = 0.75
"""Share of the steps since the last look that must have been better than the one before."""

SHARPNESS = (0.5, 1.0, 2.0)
"""Factors on the surrogate's sharpness in the first, second and last third of the steps: from smooth to faithful."""

RETREAT = 4
"""By what an image that lost its class divides its step, and its distance from the last allowed place."""

Score = Callable[[View], Tensor]
"""From what the real network shows of an iterate to (N,) numbers, lower for more damage."""


class Goal(NamedTuple):
    """The loss that an ascent increases, and the score of its iterates.

    The real network gives the score that picks an iterate.
    """

    objective: Objective
    score: Callable[[Victim, View], Score]
    """From the victim and its clean view."""


def by_primary(victim: Victim, before: View) -> Score:
    """Score an iterate by the protocol's primary metric."""
    return lambda after: victim.similarity(before, after)


def by_loss(objective: Objective) -> Callable[[Victim, View], Score]:
    """Score an iterate by its loss on the real network.

    The score is +inf where the iterate does not count.
    """

    def score(victim: Victim, before: View) -> Score:
        loss, targets = objective(before)

        def of(after: View) -> Tensor:
            counts = torch.isfinite(victim.similarity(before, after))
            return torch.where(counts, -loss(after.heatmap, *targets).double(), torch.inf)

        return of

    return score


def checkpoints(steps: int) -> Iterator[int]:
    """Yield the steps at which the step size is checked.

    Periods become shorter, from 22 % of all steps on.
    """
    before, now = 0.0, 0.22
    while (number := math.ceil(round(now * steps, 9))) < steps:
        yield number
        before, now = now, now + max(now - before - 0.03, 0.06)


def adaptive_ascent(
    victim: Victim,
    images: Tensor,
    labels: Tensor,
    goal: Goal,
    *,
    threat: ThreatModel,
    rng: SampleRng,
    steps: int,
) -> Tensor:
    """Climb from a random start by adaptive signed steps with momentum.

    An image's step is halved where it no longer helps. The step begins with the radius of the ball. At each checkpoint
    it is halved, and the search goes back to the best iterate, where fewer than three quarters of the last steps were
    better than the one before, or where the step was kept last time and the best iterate is still the same. An image
    without any allowed iterate by then retreats towards the clean image, and from then on towards its last allowed
    iterate at each step that breaks a rule; a retreat goes three quarters of the way and quarters the step.

    Args:
        victim: the attacked network.
        images: (N, C, H, W) float32 in [0, 1].
        labels: (N,) int64, the explained classes.
        goal: what to increase, and what to pick by.
        threat: where iterates must stay.
        rng: streams of the samples.
        steps: number of gradient steps.
    Returns:
        (N, C, H, W) the iterate, of the start and all steps, that scores lowest on the real network.
    Source:
        Croce, Hein 2020, "Reliable evaluation of adversarial robustness with an ensemble of diverse parameter-free
        attacks", APGD.
        Differs: progress is measured on the real network, the gradient is the surrogate's, whose sharpness grows; the
        first step is the radius, not its double; images whose class no iterate keeps retreat.
    """
    before = victim.observe(images, labels)
    loss, targets = goal.objective(before)
    score = goal.score(victim, before)
    current = uniform_start(images, threat, rng)
    previous, best, careful = current, BestIterate(images), _Careful(images)
    value = score(victim.observe(current, labels)).double()
    best.update(current, value)
    size = torch.full((len(images),), float(threat.epsilon), device=images.device, dtype=images.dtype)
    watch, looks = _Watch(best.similarity.clone(), len(images)), set(checkpoints(steps))
    for number in range(steps):
        sharpness = SHARPNESS[number * len(SHARPNESS) // steps]
        gradient = victim.loss_gradient(current, labels, loss, *targets, sharpness=sharpness)
        stepped = project(images, current + size.view(-1, 1, 1, 1) * gradient.sign(), threat)
        pushed = current + MOMENTUM * (stepped - current) + (1 - MOMENTUM) * (current - previous)
        previous, current = current, project(images, pushed if number else stepped, threat)
        latest = score(victim.observe(current, labels)).double()
        best.update(current, latest)
        watch.count(latest < value)
        value = latest
        retreats = careful.broke(current, latest)
        if number + 1 in looks:
            stuck = watch.stuck(best.similarity)
            size = torch.where(stuck, size / 2, size)
            back = stuck.view(-1, 1, 1, 1)
            current, previous = torch.where(back, best.images, current), torch.where(back, best.images, previous)
            value = torch.where(stuck, best.similarity, value)
            retreats |= careful.begin(torch.isinf(best.similarity))
        current, previous, size = careful.retreat(retreats, current, previous, size)
    return best.images


class _Watch:
    """The progress of every image since the last checkpoint."""

    def __init__(self, best: Tensor, count: int) -> None:
        self._best, self._steps = best, 0
        self._better = torch.zeros(count, device=best.device)
        self._halved = torch.zeros(count, dtype=torch.bool, device=best.device)

    def count(self, better: Tensor) -> None:
        self._steps += 1
        self._better += better

    def stuck(self, best: Tensor) -> Tensor:
        """(N,) bool: the images whose step must be halved.

        The call begins the next period.
        """
        stuck = (self._better < PROGRESS * self._steps) | (~self._halved & (best >= self._best))
        self._best, self._halved, self._steps = best.clone(), stuck, 0
        self._better = torch.zeros_like(self._better)
        return stuck


class _Careful:
    """Images without an allowed iterate.

    From then on they keep near an allowed place.
    """

    def __init__(self, images: Tensor) -> None:
        self._allowed = images.clone()
        self._chosen = torch.zeros(len(images), dtype=torch.bool, device=images.device)

    def begin(self, lost: Tensor) -> Tensor:
        """(N,) bool: which of the lost images are new here."""
        new = lost & ~self._chosen
        self._chosen = self._chosen | lost
        return new

    def broke(self, current: Tensor, value: Tensor) -> Tensor:
        """(N,) bool: the images whose step broke a rule.

        Their value does not count; the places of the others are remembered.
        """
        broke = self._chosen & torch.isinf(value)
        self._allowed = torch.where((self._chosen & ~broke).view(-1, 1, 1, 1), current, self._allowed)
        return broke

    def retreat(self, which: Tensor, current: Tensor, previous: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return places, previous places and (N,) steps after a retreat.

        The chosen images move nearer to the last allowed place, with smaller steps.
        """
        chosen, nearer = which.view(-1, 1, 1, 1), self._allowed + (current - self._allowed) / RETREAT
        size = torch.where(which, size / RETREAT, size)
        return torch.where(chosen, nearer, current), torch.where(chosen, nearer, previous), size
