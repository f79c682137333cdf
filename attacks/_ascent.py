"""Gradient steps on a loss of the heatmap.

Base classes of attacks that differ in their loss or step rule.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, HeatmapLoss, Victim, View
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel

from ._search import Search, climb, falling_sizes, momentum_steps, signed_steps

Goal = tuple[HeatmapLoss, tuple[Tensor, ...]]
"""The loss to increase, and its per-sample targets."""


@dataclass(frozen=True, kw_only=True)
class Ascent(Attack):
    """Ascent on a loss of the heatmap from random starts.

    A subclass says which loss, and by which steps.
    """

    knowledge: ClassVar[Knowledge] = "white-box"

    steps: int = Field(default=50, ge=1)
    """Steps per restart."""
    restarts: int = Field(default=1, ge=1)
    """Number of searches, each from its own random start; the best iterate of all searches counts."""

    @abstractmethod
    def goal(self, before: View) -> Goal:
        """Return what to increase, from what the clean images show."""

    @property
    @abstractmethod
    def search(self) -> Search:
        """Return the restarts, steps and step rule of the search."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's most damaging allowed iterate.

        It has the lowest similarity to the clean heatmap.
        """
        return climb(victim, images, labels, self.goal, threat=threat, rng=rng, search=self.search)


@dataclass(frozen=True, kw_only=True)
class HeatmapAscent(Ascent):
    """Ascent by signed steps of one size.

    A subclass says which loss.
    """

    step_size: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    """Length of a step in each pixel, in pixel units."""

    @property
    def search(self) -> Search:
        """Return a search by signed steps of one size."""
        return Search(self.restarts, self.steps, partial(signed_steps, float(self.step_size)))


@dataclass(frozen=True, kw_only=True)
class MomentumAscent(Ascent):
    """Ascent by signed steps with momentum and falling size.

    The steps go along the sign of v <- decay v + g / mean|g|. A subclass says which loss.
    """

    first_step: PixelFraction = Field(default="2/255", validate_default=True, gt=0)
    """Length of the first step in each pixel, in pixel units."""
    last_step: PixelFraction = Field(default="1/1020", validate_default=True, gt=0)
    """Length of the last step; steps between the first and the last fall by a constant difference."""
    decay: float = Field(default=0.75, ge=0, lt=1)
    """Share of the velocity that stays at a step; 0 is a search without momentum."""

    @property
    def search(self) -> Search:
        """Return a search by signed steps with momentum."""
        sizes = falling_sizes(float(self.first_step), float(self.last_step), self.steps)
        return Search(self.restarts, self.steps, partial(momentum_steps, sizes, self.decay))
