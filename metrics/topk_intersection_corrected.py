"""Top-k intersection, corrected for chance.

The same pixels give 1, unrelated heatmaps 0.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._topk import shared_top_k


@dataclass(frozen=True, kw_only=True)
class TopkIntersectionCorrected(Metric):
    """(IN - k/N) / (1 - k/N), with IN from `topk-intersection`.

    The correction makes data sets with other image sizes or another k comparable.

    Source:
        Ghorbani, Abid, Zou 2019 (IN); the correction for chance is that of Cohen 1960 (kappa).
        Differs: the papers report IN alone; with k = N, where chance explains everything, the value is NaN.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    k: int = Field(default=100, ge=1)
    """How many of a heatmap's largest pixels are its top."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where a heatmap is constant or holds a NaN.
        """
        pixels = pair.before.heatmap.shape[1:].numel()
        # (m/k - k/N) / (1 - k/N) over one denominator: whole numbers until the division, so equal heatmaps give 1.
        return (shared_top_k(pair, self.k) * pixels - self.k**2) / (self.k * (pixels - self.k))
