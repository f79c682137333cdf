"""Kendall's rank correlation (tau-b) of the heatmaps before and after."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair, Role
from bench.core.schemas.protocol import Direction

from ._ranks import kendall_tau_b


@dataclass(frozen=True, kw_only=True)
class Kendall(Metric):
    """Kendall's tau-b over all pixels.

    tau_b = (concordant - discordant pairs) / sqrt(pairs untied before * pairs untied after). Pixels tied in one heatmap
    alone (such as exact zeros of integrated gradients) lower it.

    Source:
        Kendall 1945; used by Chen et al. 2019 (robust attribution regularization) and Singh et al. 2020 (ART), who call
        scipy.stats.kendalltau. Algorithm: Knight 1966.
        Differs: nothing; as in scipy, the value is NaN (not 0) where a heatmap is constant.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"
    role: ClassVar[Role] = "companion"
    place: ClassVar[int] = 2

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where a heatmap is constant or holds a NaN.
        """
        return kendall_tau_b(pair.before.heatmap.flatten(1), pair.after.heatmap.flatten(1))
