"""Ascent whose steps are as long as the gradient can be trusted.

Images that left their class go back along the gradient of the class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.contracts import Victim, View
from bench.core.schemas.protocol import ThreatModel

from ._predictions import margin
from ._search import BestIterate, Objective

FIRST_STEP = 1.5
"""Of the radius: the longest step. From there steps fall to 0 by a cosine."""

MOMENTUM = 0.75
"""Weight of the new step against the previous one's direction."""

SHARPNESS = (0.5, 8.0)
"""Factors on the surrogate's sharpness at the first and the last step; geometric in between."""

TRUSTED, LEAST = 0.75, 0.2
"""Share of equal signs in successive gradients at which steps have full length, and the shortest share of it."""

MEMORY = 0.7
"""Weight of earlier steps in that share."""

REPAIR = 1 / 8
"""Of the radius: the shortest step back into the class."""

PATIENCE, RETREAT = 3, 4
"""Steps without the class after which an image goes back, leaving 1 / RETREAT of the way to its last allowed place."""

MAP_STEP = 3
"""Evaluations of the map in a step: two for the gradient, one for the look at the real network."""


class Measure(NamedTuple):
    """A number that compares iterates, lower for more damage.

    It is taken on the real network.
    """

    of: Callable[[View, View], Tensor] | None = None
    """From the clean views and the iterates' to (N,) numbers; None means the protocol's primary metric."""
    done: float = -math.inf
    """An image below needs no more steps."""


class Trail:
    """N images and their worst places by every measure.

    The places were looked at on the real network.
    """

    def __init__(self, victim: Victim, images: Tensor, labels: Tensor, measures: Mapping[str, Measure]) -> None:
        self.victim, self.images, self.labels, self.measures = victim, images, labels, measures
        self.before = victim.observe(images, labels)
        self.worst = {name: BestIterate(images) for name in measures}

    def look(self, rows: Tensor, images: Tensor) -> Tensor:
        """(n,) bool: which of n images are allowed.

        The call remembers them.

        Args:
            rows: (n,) int64. Which of the N images they are made from.
            images: (n, C, H, W).
        """
        before = View(*(part[rows] for part in vars(self.before).values()))
        after = self.victim.only(rows).observe(images, self.labels[rows])
        primary = self.victim.similarity(before, after)
        allowed = torch.isfinite(primary)
        for name, measure in self.measures.items():
            value = primary if measure.of is None else measure.of(before, after)
            self.worst[name].update(images, torch.where(allowed, value.double(), torch.inf), rows)
        return allowed

    def unfinished(self, name: str) -> Tensor:
        """(n,) int64: the images that a measure leaves something to gain."""
        return (self.worst[name].similarity >= self.measures[name].done).nonzero().squeeze(1)


class Ascent:
    """One climb of a loss from a start.

    It knows where its N images stand, and how far they may go. The length of a step falls by a cosine, and is shortened
    where successive gradients disagree in more than a quarter of their signs: there the surface bends within a step. An
    image that lost its class goes back along the gradient of the class's margin, which costs less than the step that it
    stands in for.

    Source:
        Croce, Hein 2020 (APGD) for the momentum of iterates.
        Differs: the step's length follows the agreement of gradients instead of the loss's progress.
    """

    def __init__(self, trail: Trail, objective: Objective, start: Tensor, threat: ThreatModel) -> None:
        self._trail, self._threat = trail, threat
        self._loss, self._targets = objective(trail.before)
        self._current, self._previous, self._allowed = start.clone(), start.clone(), trail.images.clone()
        self._gradient = torch.zeros_like(start)
        self._agreement = torch.full((len(start),), torch.nan, device=start.device)
        self._lost = torch.zeros(len(start), dtype=torch.int64, device=start.device)

    def climb(self, name: str, steps: int, among: Tensor | None = None) -> Tensor:
        """(N,) int64: the steps that images did not need.

        The named measure says which images can still get worse; only they take steps.

        Args:
            name: of the measure.
            steps: for each image.
            among: (N,) bool, the images that climb; by default all.
        """
        left = torch.full((len(self._current),), steps, device=self._current.device)
        for number in range(steps):
            rows = self._trail.unfinished(name)
            if among is not None:
                rows = rows[among[rows]]
            if not len(rows):
                break
            left[rows] -= 1
            low, high = SHARPNESS
            kept = self._lost[rows] == 0
            size = FIRST_STEP * (1 + math.cos(math.pi * number / steps)) / 2
            self._follow(rows[kept], size, low * (high / low) ** (number / max(1, steps - 1)))
            self._return(rows[~kept], size)
            self._judge(rows)
        return left

    def _follow(self, rows: Tensor, size: float, sharpness: float) -> None:
        """Move images along the loss's gradient, with momentum."""
        if not len(rows):
            return
        here, trail = self._current[rows], self._trail
        targets = [target[rows] for target in self._targets]
        gradient = trail.victim.only(rows).loss_gradient(
            here, trail.labels[rows], self._loss, *targets, sharpness=sharpness
        )
        self._trust(rows, gradient)
        moved = self._toward(rows, gradient, size * self._share(rows))
        pushed = here + MOMENTUM * (moved - here) + (1 - MOMENTUM) * (here - self._previous[rows])
        self._place(rows, project(trail.images[rows], pushed, self._threat))

    def _return(self, rows: Tensor, size: float) -> None:
        """Move images that lost their class along the gradient of its margin."""
        if not len(rows):
            return
        here, explained = self._current[rows], self._trail.before.logits[rows].argmax(1)
        gradient = self._trail.victim.only(rows).prediction_gradient(here, margin, explained)
        self._place(rows, self._toward(rows, gradient, (size * self._share(rows)).clamp(min=REPAIR)))

    def _judge(self, rows: Tensor) -> None:
        """Look at images on the real network.

        Images without their class for long go back.
        """
        allowed = self._trail.look(rows, self._current[rows])
        self._allowed[rows[allowed]] = self._current[rows[allowed]]
        self._lost[rows] = torch.where(allowed, 0, self._lost[rows] + 1)
        back = rows[(self._lost[rows] > 0) & (self._lost[rows] % PATIENCE == 0)]
        nearer = self._allowed[back] + (self._current[back] - self._allowed[back]) / RETREAT
        self._current[back] = self._previous[back] = nearer

    def _trust(self, rows: Tensor, gradient: Tensor) -> None:
        """Compare the signs of gradients with the signs one step before."""
        earlier, agreement = self._gradient[rows], self._agreement[rows]
        equal = (gradient.sign() == earlier.sign()).to(agreement).mean(3).mean(2).mean(1)
        mixed = torch.where(agreement.isnan(), equal, MEMORY * agreement + (1 - MEMORY) * equal)
        begun = (earlier != 0).flatten(1).any(1)
        self._agreement[rows] = torch.where(begun, mixed, agreement)
        self._gradient[rows] = gradient

    def _share(self, rows: Tensor) -> Tensor:
        """(n,) shares of a full step that images may go.

        The smallest share as long as there is no second gradient.
        """
        return ((self._agreement[rows] - 0.5) / (TRUSTED - 0.5)).nan_to_num(0.0).clamp(LEAST, 1.0)

    def _toward(self, rows: Tensor, gradient: Tensor, sizes: Tensor) -> Tensor:
        """(n, C, H, W): signed steps of (n,) sizes, in radii."""
        step = float(self._threat.epsilon) * sizes.to(gradient).view(-1, 1, 1, 1) * gradient.sign()
        return project(self._trail.images[rows], self._current[rows] + step, self._threat)

    def _place(self, rows: Tensor, images: Tensor) -> None:
        self._previous[rows], self._current[rows] = self._current[rows], images
