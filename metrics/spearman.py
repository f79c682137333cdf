"""Spearman's rank correlation of the heatmaps before and after."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._ranks import spearman_rho


@dataclass(frozen=True, kw_only=True)
class Spearman(Metric):
    """rho = Pearson correlation of the pixels' mid-ranks, over all pixels.

    Source:
        Spearman 1904; used by Ghorbani, Abid, Zou 2019. Reference codes call scipy.stats.spearmanr.
        Differs: nothing; as in scipy, the value is NaN (not 0) where a heatmap is constant.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where a heatmap is constant or holds a NaN.
        """
        return spearman_rho(pair.before.heatmap.flatten(1), pair.after.heatmap.flatten(1))
