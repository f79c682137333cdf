"""The share of one top near another, for the four LENS metrics."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import dilate, top_k_mask
from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._diverse import diverse_top_k, share
from ._undefined import nan_where_constant


@dataclass(frozen=True, kw_only=True)
class NearTop(Metric):
    """The share of one top that lies near the other.

    A subclass says which top is counted, and whether tops are diverse.
    """

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"
    share_of: ClassVar[Literal["before", "after"]]
    """Whose top is counted. The windows lie around the other top."""
    diverse: ClassVar[bool] = False
    """Whether no two pixels of a top are near each other."""

    k: int = Field(default=100, ge=1)
    """How many of a heatmap's largest pixels are its top."""
    window: int = Field(default=1, ge=0)
    """How many rows and columns a pixel's window reaches to each side; 0 is the pixel alone."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [0, 1].

        NaN where a heatmap is constant or holds a NaN.
        """
        maps = pair.before.heatmap, pair.after.heatmap
        before, after = self._top(maps[0]), self._top(maps[1])
        counted, other = (before, after) if self.share_of == "before" else (after, before)
        return nan_where_constant(share(counted & dilate(other, self.window), counted), *maps)

    def _top(self, heatmap: Tensor) -> Tensor:
        """Return the (N, H, W) bool mask of a top."""
        return diverse_top_k(heatmap, self.k, self.window) if self.diverse else top_k_mask(heatmap, self.k)
