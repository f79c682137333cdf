"""Cosine of the angle between the heatmaps before and after, signs dropped."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._sums import cosine


@dataclass(frozen=True, kw_only=True)
class CosineAbs(Metric):
    """<I, I'> / (|I| |I'|) of the absolute heatmaps (N, H, W).

    Unrelated maps do not have the value 0: for half-normal values chance is near 2/pi. `cosine` keeps signs and
    channels.

    Source:
        Ivankay et al. 2021 (FAR); of the two variants in use, the one on maps of absolute values.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [0, 1].

        NaN where a heatmap is zero everywhere or has a value that is not finite.
        """
        return cosine(pair.before.heatmap.abs(), pair.after.heatmap.abs())
