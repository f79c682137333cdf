"""Gini index of one heatmap, 0 for a constant map.

It is near 1 for a single pixel.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Pair, Role
from bench.core.schemas.protocol import Direction

from ._sides import OneSided, Side, view_of
from ._sums import sum_by_halves, sum_to_one


@dataclass(frozen=True, kw_only=True)
class Gini(OneSided):
    """Gini index of the pixels' absolute values.

    1 - 2 sum_i p_(i) (n - i + 1/2) / n, where p_(1) <= .. <= p_(n) are the pixels' shares of the summed absolute
    values. Neutral: it says how sparse a map is, not how far it moved. Adversarial training makes maps sparser.

    Source:
        Hurley, Rickard 2009; for attributions Chalasani et al. 2020.
        Differs: nothing.
    """

    version: ClassVar[int] = 2
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    role: ClassVar[Role] = "sparsity"
    place: ClassVar[int] = 1

    of: Side = "before"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [0, 1).

        NaN where the heatmap is zero everywhere or has a value that is not finite.
        """
        shares = sum_to_one(view_of(pair, self.of).heatmap).sort(1).values
        pixels = shares.shape[1]
        from_top = pixels - torch.arange(pixels, dtype=shares.dtype, device=shares.device) - 0.5
        return (1 - 2 * sum_by_halves(shares * from_top) / pixels).clamp(0, 1)
