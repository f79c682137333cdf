"""Cosine of the angle between the heatmaps before and after, signs dropped."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from metrics._sums import largest_to_one, sum_by_halves


@dataclass(frozen=True, kw_only=True)
class CosineAbs(Metric):
    """<I, I'> / (|I| |I'|) of the heatmaps' absolute values (N, H, W).

    Unrelated maps are not at 0: for half-normal values chance is near 2/pi. `cosine` keeps signs and channels.

    Source:
        Ivankay et al. 2021 (FAR); of the two variants in use, the one on maps of absolute values.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Literal["more-robust", "less-robust", "neutral"]] = "more-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """(N,) float64 in [0, 1]; NaN where a heatmap is zero everywhere or not finite somewhere."""
        before, after = largest_to_one(pair.before.heatmap).abs(), largest_to_one(pair.after.heatmap).abs()
        lengths = (sum_by_halves(before * before) * sum_by_halves(after * after)).sqrt()
        return (sum_by_halves(before * after) / lengths).clamp(0, 1)
