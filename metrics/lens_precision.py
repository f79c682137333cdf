"""Locality-sensitive top-k: how much of the clean top lies in windows around the attacked top."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import dilate, top_k_mask
from bench.core.contracts import Metric, Pair
from metrics._undefined import nan_where_nan


@dataclass(frozen=True, kw_only=True)
class LensPrecision(Metric):
    """|S and N_w(S')| / k: the share of the clean top that lies near the pixels on top after the attack.

    S and S' are the k largest pixels, N_w the pixels at most w rows and columns away. With w = 0 it is top-k
    intersection; unrelated maps reach more than k/N.

    Source:
        Kamath et al. 2024 (LENS). Reference code: ksandeshk/LENS.
        Differs: the reference's windows wrap around at row ends and leave out pixel 0; here they end at the border.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Literal["more-robust", "less-robust", "neutral"]] = "more-robust"

    k: int = Field(default=100, ge=1)
    """How many of a heatmap's largest pixels are its top."""
    window: int = Field(default=1, ge=0)
    """How many rows and columns a pixel's window reaches to each side; 0 is the pixel alone."""

    def __call__(self, pair: Pair) -> Tensor:
        """(N,) float64 in [0, 1]; NaN where a heatmap holds a NaN."""
        before, after = top_k_mask(pair.before.heatmap, self.k), top_k_mask(pair.after.heatmap, self.k)
        shared = before & dilate(after, self.window)
        return nan_where_nan(shared.flatten(1).sum(1), pair.before.heatmap, pair.after.heatmap) / self.k
