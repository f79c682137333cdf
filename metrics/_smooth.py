"""Rank correlations of smoothed heatmaps, on which small shifts matter little."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

Correlation = Callable[[Tensor, Tensor], Tensor]
"""Two (N, H * W) maps to (N,) float64."""


@dataclass(frozen=True, kw_only=True)
class SmoothedRanks(Metric):
    """The rank correlation of smoothed heatmaps.

    A subclass says which correlation.
    """

    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"
    correlation: ClassVar[Correlation]

    window: int = Field(default=1, ge=0)
    """How many rows and columns a pixel's window reaches to each side; 0 is the pixel alone."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where a smoothed heatmap is constant or holds a NaN.
        """
        before, after = (smooth(view.heatmap, self.window) for view in (pair.before, pair.after))
        return type(self).correlation(before, after)


def smooth(heatmap: Tensor, window: int) -> Tensor:
    """(N, H * W) float64 means over a window around each pixel.

    The window holds the pixels at most `window` rows and columns away. It ends at the border. Sums of few float32
    numbers are exact in float64, so that equal windows stay equal.
    """
    mean = F.avg_pool2d(heatmap.double().unsqueeze(1), 2 * window + 1, 1, window, count_include_pad=False)
    return mean.flatten(1)
