"""Largest relative change of the attribution among random images nearby."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from ._neighbours import Point, StabilityMetric
from ._sums import norm


@dataclass(frozen=True, kw_only=True)
class MaxSensitivity(StabilityMetric):
    """max over x' of |A(x') - A(x)| / |A(x)|.

    x' is drawn uniformly with |x' - x|_inf <= radius. It shows what chance finds, beside what an adversary finds. With
    `neighbours = "attacked"`, x' is the attack's image alone.

    Source:
        Yeh et al. 2019 (SENS_MAX), radius 0.2 and 50 draws; captum.metrics.sensitivity_max, radius 0.02 and 10 draws.
        Reference code: chihkuanyeh/saliency_evaluation.
        Differs: captum's radius, draws and division by |A(x)|, NaN (not undivided) where A(x) is 0; images end at 0
        and 1. The reference code divides its running maximum again at each draw; here each change is divided once.
    """

    version: ClassVar[int] = 1

    def ratio(self, here: Point, there: Point) -> Tensor:
        """Return (N,) lengths of the changes over the length before."""
        return norm(there.attribution - here.attribution) / norm(here.attribution)
