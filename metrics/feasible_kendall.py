"""Kendall's tau-b of the samples whose attack kept the class."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._undefined import nan_where_infeasible
from .kendall import Kendall


@dataclass(frozen=True, kw_only=True)
class FeasibleKendall(Metric):
    """`kendall` of the attacks that kept the class.

    A sample whose attack did not keep it is left out. `kendall` counts such a sample as not moved (1), since the clean
    image is always allowed. Leaving it out makes the set of images depend on the model.

    Source:
        Singh et al. 2020, ART. Reference code: nupurkmr9/Attributional-Robustness, cifar/eval_model.py.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where the attack is infeasible, or `kendall` is NaN.
        """
        return nan_where_infeasible(Kendall()(pair), pair)
