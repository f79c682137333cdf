"""Locality-sensitive diverse top-k: how much of the attacked diverse top lies in windows around the clean one."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import dilate
from bench.core.contracts import Metric, Pair
from metrics._diverse import diverse_top_k, share
from metrics._undefined import nan_where_nan


@dataclass(frozen=True, kw_only=True)
class LensRecallDiv(Metric):
    """|N_w(D) and D'| / k: the share of the diverse top after the attack that lies near the clean diverse top.

    D and D' are the largest pixel, then the largest outside of its window, k times; N_w the pixels at most w rows and
    columns away, the same w. Where k windows cover much of the image, unrelated maps reach much.

    Source:
        Kamath et al. 2024 (LENS). Reference code: ksandeshk/LENS, scripts/imagenet_topk_div_eps.py.
        Differs: the reference's windows wrap around at row ends, pixel 0 cannot be picked, the second pick is thrown
        away, and only the 6000 to 25000 largest pixels are looked at; here windows end at the border and every pixel
        may be picked. Where fewer than k are so far apart, the share is of those.
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
        maps = pair.before.heatmap, pair.after.heatmap
        before, after = (diverse_top_k(heatmap, self.k, self.window) for heatmap in maps)
        return nan_where_nan(share(dilate(before, self.window) & after, after), *maps)
