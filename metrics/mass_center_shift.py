"""How far, in pixels, the heatmap's center of mass moves."""

from __future__ import annotations

import math
from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import mass_center
from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction


@dataclass(frozen=True, kw_only=True)
class MassCenterShift(Metric):
    """|C - C'|, the Euclidean distance of the centers of mass.

    C is the center (row, column) of a heatmap, as real numbers.

    Source:
        Ghorbani, Abid, Zou 2019. Reference code: amiratag/InterpretationFragility.
        Differs: the reference truncates both centers to whole pixels, and takes C on the softplus network but C' on the
        ReLU network, so that an unchanged image seems to move; here both are real numbers of the real network.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, math.inf)
    higher_is: ClassVar[Direction] = "less-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 distances in pixels.

        NaN where a heatmap sums to 0 or has a value that is not finite.
        """
        shift = mass_center(pair.after.heatmap.double()) - mass_center(pair.before.heatmap.double())
        return shift.square().sum(1).sqrt()
