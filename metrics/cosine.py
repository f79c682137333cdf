"""Cosine of the angle between the signed attributions before and after."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._sums import cosine


@dataclass(frozen=True, kw_only=True)
class Cosine(Metric):
    """Cosine of the raw attributions (N, C, H, W).

    <A, A'> / (|A| |A'|). Signs and channels are kept, so that chance is 0. On heatmaps of absolute values it would be
    another metric, with a chance value near 2/pi.

    Source:
        Wang and Kong 2022 (IGR), who relate Kendall's tau to it.
        Differs: of the two variants in use, this is the one on signed attributions.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where an attribution is zero everywhere or has a value that is not finite.
        """
        return cosine(pair.before.attribution, pair.after.attribution)
