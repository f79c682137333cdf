"""Euclidean distance of the heatmaps, each scaled to mean 1, per pixel."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._sums import sum_by_halves, sum_to_one


@dataclass(frozen=True, kw_only=True)
class L2Distance(Metric):
    """sqrt(mean over pixels of (I - I')^2), on scaled heatmaps.

    Each heatmap is divided by the mean of its absolute values. A root-mean-square in units of the mean pixel, so that
    image sizes compare; for unrelated half-normal maps it is near 1.

    Source:
        Dombrowski et al. 2019 (MSE of maps of sum 1).
        Differs: maps of mean 1 rather than sum 1, and the root of the mean.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is: ClassVar[Direction] = "less-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 distances.

        NaN where a heatmap is zero everywhere or has a value that is not finite.
        """
        before, after = sum_to_one(pair.before.heatmap), sum_to_one(pair.after.heatmap)
        pixels = before.shape[1]
        return (sum_by_halves((after - before).square()) * pixels).sqrt()
