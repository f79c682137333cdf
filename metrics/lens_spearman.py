"""Locality-sensitive Spearman: the rank correlation of heatmaps that are smoothed first."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._ranks import spearman_rho
from ._smooth import smooth


@dataclass(frozen=True, kw_only=True)
class LensSpearman(Metric):
    """rho of the smoothed heatmaps.

    A smoothed pixel is the mean of its window: the pixels at most w rows and columns away. A map that moves by a pixel
    changes `spearman` much, but this metric little; with w = 0 it is `spearman`. Smoothing makes unrelated maps of the
    same outline look related, so compare it with a floor.

    Source:
        Kamath et al. 2024 (LENS-Spearman), from memory of the paper: its code has none.
        Differs: windows end at the border, where the mean is of the pixels that there are.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    window: int = Field(default=1, ge=0)
    """How many rows and columns a pixel's window reaches to each side; 0 is the pixel alone."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where a smoothed heatmap is constant or holds a NaN.
        """
        return spearman_rho(smooth(pair.before.heatmap, self.window), smooth(pair.after.heatmap, self.window))
