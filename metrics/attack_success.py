"""Whether the attack moved the map far enough to succeed.

The mean is the attack's success rate.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from .kendall import Kendall


@dataclass(frozen=True, kw_only=True)
class AttackSuccess(Metric):
    """Success of the attack, 1 or 0.

    1 if tau-b of the heatmaps is below theta, else 0; the mean is ASR_theta. An image that the judge put back, as its
    class had changed, has tau 1 and is no success.

    Source:
        The success rate of attacks on predictions, with `kendall` in the place of the class; this benchmark's.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "less-robust"

    theta: float = Field(default=0.5, gt=-1, le=1)
    """Kendall's tau-b below which an attack succeeded."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values, 0 or 1.

        NaN where `kendall` is NaN.
        """
        tau = Kendall()(pair)
        return torch.where(tau.isnan(), tau, (tau < self.theta).double())
