"""Pearson correlation of the heatmaps before and after."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._sums import centered, cosine


@dataclass(frozen=True, kw_only=True)
class Pearson(Metric):
    """Covariance over the product of standard deviations, over all pixels.

    Source:
        Pearson 1895; used by Dombrowski et al. 2019 (PCC) and Ivankay et al. 2021.
        Differs: nothing; NaN (not 0) where a heatmap is constant.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where a heatmap is constant or has a value that is not finite.
        """
        return cosine(centered(pair.before.heatmap), centered(pair.after.heatmap))
