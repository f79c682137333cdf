"""Maps numbers to pixels of a drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """A linear map from numbers to pixels of the drawing."""

    low: float
    high: float
    start: float
    end: float

    @property
    def ticks(self) -> list[float]:
        """About five round numbers within the axis."""
        rough = (self.high - self.low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(step * count, 10) for count in range(first, last + 1)]

    def at(self, value: float) -> float:
        """Return the pixel of a number."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)


def axis(values: Iterable[float], start: float, end: float) -> Axis:
    """Return an axis that holds the values with a margin."""
    known = list(values)
    low, high = min(known), max(known)
    air = 0.06 * (high - low) or 0.5
    return Axis(low - air, high + air, start, end)
