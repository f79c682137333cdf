"""Changes of an attribution near the clean image, for the stability metrics."""

from __future__ import annotations

import math
from abc import abstractmethod
from functools import lru_cache
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair, Probe
from bench.core.schemas.protocol import Direction, PixelFraction

from ._probe import probe_of
from ._sums import norm


class Point(NamedTuple):
    """N images with the network's logits and attributions."""

    images: Tensor
    """(N, C, H, W), or (N, n) where rows are compared."""
    attribution: Tensor
    """The attributions, of the same shape."""
    logits: Tensor
    """(N, K)."""


@dataclass(frozen=True, kw_only=True)
class StabilityMetric(Metric):
    """The largest `ratio(x, x')` over images x' near x.

    A subclass says what is divided by what. Attributions come divided by the largest size in A(x), so that networks
    with other scales of logits compare.
    """

    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is: ClassVar[Direction] = "less-robust"
    asks_model: ClassVar[bool] = True
    same_class_only: ClassVar[bool] = False
    """Whether neighbours of another predicted class are left out."""

    neighbours: Literal["drawn", "attacked"] = "drawn"
    """Which images near the clean one are looked at. "drawn": random images around it, so that the value describes the
    clean image; "attacked": the attack's image alone."""
    draws: int = Field(default=10, ge=1)
    """Random images that are drawn around the clean one."""
    radius: PixelFraction = Field(default="1/50", validate_default=True, gt=0)
    """Half the side of the cube, in pixel units, in which neighbours are drawn uniformly."""

    @property
    def looks_at_clean_alone(self) -> bool:
        """Return whether the neighbours are drawn."""
        return self.neighbours == "drawn"

    @abstractmethod
    def ratio(self, here: Point, there: Point) -> Tensor:
        """Return (N,) ratios of a change here and there.

        Images and attributions are (N, n) float64, logits (N, K).
        """

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values.

        NaN where the clean attribution is zero everywhere or an attribution has a value that is not finite. For metrics
        of one class, also where no neighbour keeps it.
        """
        probe, before, after = probe_of(self, pair), pair.before, pair.after
        if self.neighbours == "drawn":
            points = drawn(probe, before.images, float(self.radius), self.draws)
        else:
            points = (Point(after.images, after.attribution, after.logits),)
        scale = before.attribution.flatten(1).double().abs().amax(1, keepdim=True)
        scale = scale.masked_fill(scale == 0, torch.nan)
        here = _rows(Point(before.images, before.attribution, before.logits), scale)
        # A neighbour that does not count is larger than nothing; a broken attribution makes the maximum NaN.
        largest = torch.stack([self._value(here, _rows(point, scale)) for point in points]).amax(0)
        return largest.masked_fill(largest == -math.inf, torch.nan)

    def _value(self, here: Point, there: Point) -> Tensor:
        value = self.ratio(here, there)
        if not self.same_class_only:
            return value
        return value.masked_fill(here.logits.argmax(1) != there.logits.argmax(1), -math.inf)


@lru_cache(maxsize=1)
def drawn(probe: Probe, images: Tensor, radius: float, draws: int) -> tuple[Point, ...]:
    """Return random images around each image, and the network's answers.

    They lie in a cube, cut to [0, 1]. The last answer is remembered: these are by far the costliest looks, and all
    stability metrics take the same ones.
    """
    found = []
    for draw in range(draws):
        noise = probe.rng.fork("neighbours", draw).uniform(tuple(images.shape[1:]), -1, 1).to(images)
        near = (images + radius * noise).clamp(0, 1)
        found.append(Point(near, probe.attribute(near), probe.logits(near)))
    return tuple(found)


def relative_change(before: Tensor, after: Tensor, smallest: float) -> Tensor:
    """Return (N,) norms of the relative changes between (N, n) rows.

    They are |(b - a) / b|, entry by entry; `smallest` stands in for a divisor of 0.
    """
    return norm((before - after) / before.masked_fill(before == 0, smallest))


def _rows(point: Point, scale: Tensor) -> Point:
    return Point(point.images.flatten(1).double(), point.attribution.flatten(1).double() / scale, point.logits.double())
