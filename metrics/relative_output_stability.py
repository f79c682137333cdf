"""Largest relative change of the attribution per change of the logits.

Only images nearby with the same predicted class count.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from ._neighbours import Point, StabilityMetric, relative_change
from ._sums import norm


@dataclass(frozen=True, kw_only=True)
class RelativeOutputStability(StabilityMetric):
    """Largest relative change of A per change of the logits z.

    max over x' of |(A(x) - A(x')) / A(x)| / max(|z(x) - z(x')|, epsilon_min). The first division goes pixel by pixel. A
    map may move where the output moves; this value is large where the map moves alone. Small entries of A(x) weigh
    most, so the values are heavy-tailed: compare them by rank. With `neighbours = "attacked"`, x' is the attack's image
    alone.

    Source:
        Agarwal et al. 2022 (ROS), Euclidean. Neighbours of another predicted class are left out, as there.
        Differs: NaN where all of them are left out; x' is drawn uniformly from a cube cut to [0, 1]; where the paper
        divides by zero, epsilon_min (of the largest |A(x)|) stands in.
    """

    version: ClassVar[int] = 1
    same_class_only: ClassVar[bool] = True

    epsilon_min: float = Field(default=1e-6, gt=0)
    """The smallest divisor."""

    def ratio(self, here: Point, there: Point) -> Tensor:
        """Return (N,) relative changes of the attribution over changes of the logits."""
        moved = norm(here.logits - there.logits).clamp(self.epsilon_min)
        return relative_change(here.attribution, there.attribution, self.epsilon_min) / moved
