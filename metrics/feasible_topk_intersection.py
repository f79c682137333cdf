"""Top-k intersection of the samples whose attack kept the class."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._undefined import nan_where_infeasible
from .topk_intersection import TopkIntersection


@dataclass(frozen=True, kw_only=True)
class FeasibleTopkIntersection(Metric):
    """`topk-intersection` of the attacks that kept the class.

    A sample whose attack did not keep it is left out. `topk-intersection` counts such a sample as not moved (1), since
    the clean image is always allowed. Leaving it out makes the set of images depend on the model.

    Source:
        Singh et al. 2020, ART. Reference code: nupurkmr9/Attributional-Robustness, cifar/eval_model.py.
        Differs: ties go to the lower pixel index, as in `topk-intersection`.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    k: int = Field(default=100, ge=1)
    """How many of a heatmap's largest pixels are its top."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [0, 1].

        NaN where the attack is infeasible, or `topk-intersection` is NaN.
        """
        return nan_where_infeasible(TopkIntersection(k=self.k)(pair), pair)
