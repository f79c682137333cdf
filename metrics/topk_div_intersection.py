"""Share of the k most important, mutually distant pixels that stay."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._diverse import diverse_top_k, share
from ._undefined import nan_where_constant


@dataclass(frozen=True, kw_only=True)
class TopkDivIntersection(Metric):
    """Share of the diverse top that stays.

    |D ∩ D'| / k. D and D' are the diverse tops before and after: the largest pixel, then the largest outside of its
    window, k times. Without diversity the top of a map is a few blobs, and the intersection counts each of them many
    times. Pixels must stay exactly where they are: a map that moves by one pixel keeps almost nothing. With window 0 it
    is top-k intersection.

    Source:
        Kamath et al. 2024 (LENS). Reference code: ksandeshk/LENS, scripts/imagenet_topk_div_eps.py.
        Differs: the reference's windows wrap around at row ends, pixel 0 cannot be picked, the second pick is thrown
        away, and only the 6000 to 25000 largest pixels are looked at; here windows end at the border and every pixel
        may be picked. Where fewer than k pixels are far enough apart, the share is taken over these.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    k: int = Field(default=100, ge=1)
    """How many of a heatmap's largest pixels are its top."""
    window: int = Field(default=1, ge=0)
    """How many rows and columns a pixel's window reaches to each side; 0 is the pixel alone."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [0, 1].

        NaN where a heatmap is constant or holds a NaN.
        """
        maps = pair.before.heatmap, pair.after.heatmap
        before, after = (diverse_top_k(heatmap, self.k, self.window) for heatmap in maps)
        fewer = after.flatten(1).sum(1) < before.flatten(1).sum(1)
        larger = before.where(fewer.view(-1, 1, 1), after)
        return nan_where_constant(share(before & after, larger), *maps)
