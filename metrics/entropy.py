"""Entropy of one heatmap, as a share of the largest possible entropy."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Pair, Role
from bench.core.schemas.protocol import Direction

from ._sides import OneSided, Side, view_of
from ._sums import sum_by_halves, sum_to_one


@dataclass(frozen=True, kw_only=True)
class Entropy(OneSided):
    """-sum p log p / log(number of pixels).

    p are the heatmap's absolute values as shares of their sum. 1 for a constant map, 0 for a single pixel. Neutral: it
    says how spread a map is, not how far it moved.

    Source:
        Bhatt, Weller, Moura 2020 (complexity).
        Differs: divided by the logarithm of the number of pixels, so that image sizes compare.
    """

    version: ClassVar[int] = 2
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    role: ClassVar[Role] = "sparsity"
    place: ClassVar[int] = 2

    of: Side = "before"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [0, 1].

        NaN where the heatmap is zero everywhere or has a value that is not finite.
        """
        shares = sum_to_one(view_of(pair, self.of).heatmap)
        return (-sum_by_halves(torch.special.xlogy(shares, shares)) / math.log(shares.shape[1])).clamp(0, 1)
