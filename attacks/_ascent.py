"""Gradient steps on a loss of the heatmap: what attacks that differ in their loss or step rule share."""

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
    """Increase a loss of the heatmap from random starts; a subclass says which loss, and by which steps."""

    knowledge: ClassVar[Knowledge] = "white-box"

    steps: int = Field(default=50, ge=1)
    """Steps of each restart."""
    restarts: int = Field(default=1, ge=1)
    """Searches from random starts of their own; the best iterate of all of them counts."""

    @abstractmethod
    def goal(self, before: View) -> Goal:
        """Return what to increase, from what the clean images show."""

    @property
    @abstractmethod
    def search(self) -> Search:
        """How the ascent goes."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): per image the allowed iterate with the lowest similarity to the clean heatmap."""
        return climb(victim, images, labels, self.goal, threat=threat, rng=rng, search=self.search)


@dataclass(frozen=True, kw_only=True)
class HeatmapAscent(Ascent):
    """Signed steps of one size; a subclass says which loss."""

    step_size: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    """Length of a step in each pixel, in pixel units."""

    @property
    def search(self) -> Search:
        """Signed steps of one size."""
        return Search(self.restarts, self.steps, partial(signed_steps, float(self.step_size)))


@dataclass(frozen=True, kw_only=True)
class MomentumAscent(Ascent):
    """Steps of falling size along the sign of v <- decay v + g / mean|g|; a subclass says which loss."""

    first_step: PixelFraction = Field(default="2/255", validate_default=True, gt=0)
    """Length of the first step in each pixel, in pixel units."""
    last_step: PixelFraction = Field(default="1/1020", validate_default=True, gt=0)
    """Length of the last step; those between fall by a constant difference."""
    decay: float = Field(default=0.75, ge=0, lt=1)
    """What is left of the velocity at each step; 0 is a search without momentum."""

    @property
    def search(self) -> Search:
        """Signed steps with momentum."""
        sizes = falling_sizes(float(self.first_step), float(self.last_step), self.steps)
        return Search(self.restarts, self.steps, partial(momentum_steps, sizes, self.decay))
