"""On the prediction, black-box: the worst small rotation and translation."""

from __future__ import annotations

import math
from itertools import product
from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, ThreatModel

from ._predictions import try_on
from ._search import BestIterate


@dataclass(frozen=True, kw_only=True)
class Spatial(Attack):
    """The rotated and moved image of lowest margin on a regular grid.

    x is rotated by up to `degrees` and moved by up to `pixels`. A moved image is far away in every norm: choose a
    protocol of epsilon 1, under which the L-infinity ball holds every image. Under a smaller epsilon each candidate is
    projected like any other proposal, and little is left of the move.

    Source:
        Engstrom et al. 2019, grid search: 31 rotations times 5 x 5 translations on CIFAR-10.
        Differs: bilinear, black outside the image; no random subsets of the grid.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "black-box"
    source: ClassVar[str] = "Engstrom et al. 2019"
    aim: ClassVar[Aim] = "prediction"

    degrees: float = Field(default=30.0, ge=0, le=180)
    """The largest rotation, either way."""
    rotations: int = Field(default=31, ge=1)
    """Angles on the grid, evenly spaced."""
    pixels: float = Field(default=3.0, ge=0)
    """The largest translation along each axis, either way."""
    shifts: int = Field(default=5, ge=1)
    """Translations on the grid along each axis, evenly spaced."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """(N, C, H, W): every image's candidate of the lowest margin."""
        best = BestIterate(images)
        angles, moves = evenly(self.degrees, self.rotations), evenly(self.pixels, self.shifts)
        for angle, down, right in product(angles, moves, moves):
            try_on(victim, best, project(images, moved(images, angle, down, right), threat), labels)
        return best.images


def evenly(reach: float, count: int) -> list[float]:
    """Return `count` values from -reach to reach at equal distances.

    A single value is 0.
    """
    return [0.0] if count == 1 else [reach * (2 * i / (count - 1) - 1) for i in range(count)]


def moved(images: Tensor, degrees: float, down: float, right: float) -> Tensor:
    """(N, C, H, W): images turned about the center, then moved.

    They turn counter-clockwise, and are black outside.
    """
    height, width = images.shape[2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # From output to input positions, in half heights and half widths, as `grid_sample` expects.
    x, y = 2 * right / width, 2 * down / height
    tall = height / width
    inverse = [[cos, -sin * tall], [sin / tall, cos]]
    offset = [-(row[0] * x + row[1] * y) for row in inverse]
    matrix = torch.tensor([[*row, shift] for row, shift in zip(inverse, offset, strict=True)]).to(images)
    grid = F.affine_grid(matrix.unsqueeze(0), [1, *images.shape[1:]], align_corners=False)
    points = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(images, points, mode="bilinear", padding_mode="zeros", align_corners=False)
