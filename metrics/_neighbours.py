"""The largest change of an attribution among images near the clean one: what the stability metrics share."""

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
    """N images, and what the network says and shows there."""

    images: Tensor
    """(N, C, H, W), or (N, n) where rows are compared."""
    attribution: Tensor
    """Of the same shape."""
    logits: Tensor
    """(N, K)."""


@dataclass(frozen=True, kw_only=True)
class StabilityMetric(Metric):
    """max over x' near x of `ratio(x, x')`; a subclass says what is divided by what.

    Attributions come divided by the largest size in A(x), so that networks whose logits have another scale compare.
    """

    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is: ClassVar[Direction] = "less-robust"
    asks_model: ClassVar[bool] = True
    same_class_only: ClassVar[bool] = False
    """Whether neighbours of another predicted class are left out."""

    neighbours: Literal["drawn", "attacked"] = "drawn"
    """Random images around the clean one, which makes the value one of the clean image; or the attack's image alone."""
    draws: int = Field(default=10, ge=1)
    """Random images that are drawn around the clean one."""
    radius: PixelFraction = Field(default="1/50", validate_default=True, gt=0)
    """Half the side of the cube, in pixel units, in which neighbours are drawn uniformly."""

    @property
    def looks_at_clean_alone(self) -> bool:
        """Whether its neighbours are drawn."""
        return self.neighbours == "drawn"

    @abstractmethod
    def ratio(self, here: Point, there: Point) -> Tensor:
        """(N,) from (N, n) float64 images and attributions, and (N, K) logits."""

    def __call__(self, pair: Pair) -> Tensor:
        """(N,) float64; NaN where the clean attribution is zero everywhere or an attribution is not finite somewhere.

        For metrics of one class, also where no neighbour keeps it.
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
    """Return random images of the cube around each image, cut to [0, 1], and what the network shows there.

    The last answer is remembered: these are by far the costliest looks, and all stability metrics take the same ones.
    """
    found = []
    for draw in range(draws):
        noise = probe.rng.fork("neighbours", draw).uniform(tuple(images.shape[1:]), -1, 1).to(images)
        near = (images + radius * noise).clamp(0, 1)
        found.append(Point(near, probe.attribute(near), probe.logits(near)))
    return tuple(found)


def relative_change(before: Tensor, after: Tensor, smallest: float) -> Tensor:
    """(N, n) twice to (N,): |(b - a) / b|, entry by entry, `smallest` in the place of a divisor of 0."""
    return norm((before - after) / before.masked_fill(before == 0, smallest))


def _rows(point: Point, scale: Tensor) -> Point:
    return Point(point.images.flatten(1).double(), point.attribution.flatten(1).double() / scale, point.logits.double())
