"""Targeted manipulation of the heatmap towards a frame, inside the ball."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import normalize
from bench.core.contracts import View
from bench.core.schemas.protocol import PixelFraction

from ._ascent import Ascent, Goal
from ._search import Search, adam_steps


@dataclass(frozen=True, kw_only=True)
class TargetMap(Ascent):
    """Lower the heatmap's squared distance from a target map, by Adam.

    The distance is the mean squared error of the sum-normalised heatmap. The target is constant on a border of 5/32 of
    each side and 0 inside: it is the same for all samples.

    Source:
        Dombrowski et al. 2019. Reference code: pankessel/adv_explanation_ref. Frame target: Joo et al. 2023
        (joshua840/RobustAGA).
        Differs: the reference's target is another image's map; the search stays in the threat model's ball; the class
        is kept by choosing among iterates, not by a term on the outputs; the surrogate keeps its sharpness; random
        start; the best iterate by the protocol's primary metric, where the reference returns the last.
        `target-map-published` differs in none of these.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Dombrowski et al. 2019"

    learning_rate: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    """Adam's learning rate, in pixel units."""

    def goal(self, before: View) -> Goal:
        """Return the loss and its targets."""
        return closeness, (frame(before.heatmap),)

    @property
    def search(self) -> Search:
        """Return a search by steps of Adam."""
        return Search(self.restarts, self.steps, partial(adam_steps, float(self.learning_rate)))


def closeness(heatmap: Tensor, target: Tensor) -> Tensor:
    """(N,) minus the mean squared errors between maps of mean 1.

    Maps are (N, H, W).
    """
    return -(normalize(heatmap) - target).square().mean((1, 2))


def frame(heatmap: Tensor) -> Tensor:
    """(N, H, W) maps of a frame, with mean 1.

    They are constant on a border of 5/32 of the side, at least one pixel, and 0 inside.
    """
    rows, columns = (max(1, round(size * 5 / 32)) for size in heatmap.shape[1:])
    target = torch.ones_like(heatmap)
    target[:, rows:-rows, columns:-columns] = 0
    return normalize(target)
