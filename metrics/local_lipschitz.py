"""Largest change of the attribution per distance among random neighbours."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from ._neighbours import Point, StabilityMetric
from ._sums import norm


@dataclass(frozen=True, kw_only=True)
class LocalLipschitz(StabilityMetric):
    """max over x' of |A(x') - A(x)| / (|A(x)| |x' - x|).

    Lengths are Euclidean; the unit is relative change per pixel unit. It estimates the Lipschitz constant from below.
    With `neighbours = "attacked"`, x' is the attack's image alone, which for a strong attack is the better estimate.

    Source:
        Alvarez-Melis, Jaakkola 2018.
        Differs: divided by |A(x)|, so that networks with other logit scales compare; x' is drawn uniformly from a cube
        cut to [0, 1], where the paper searches it by Bayesian optimisation. NaN where x' is x: an image
        that was put back has no distance.
    """

    version: ClassVar[int] = 1

    def ratio(self, here: Point, there: Point) -> Tensor:
        """Return (N,) relative changes over the distances of the images."""
        change = norm(there.attribution - here.attribution) / norm(here.attribution)
        return change / norm(there.images - here.images)
