"""Whether the unchanged image is classified correctly."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._undefined import nan_where_nan


@dataclass(frozen=True, kw_only=True)
class Accuracy(Metric):
    """Correctness of the class predicted before any change, 1 or 0.

    1 if that class is the label, else 0; the mean is the clean accuracy. Neutral: it says how good the classifier is,
    not how robust.

    Source:
        The usual accuracy; RobustBench (Croce et al. 2021) reports it beside the robust one.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    reads_maps: ClassVar[bool] = False

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values, 0 or 1.

        NaN where a logit is NaN.
        """
        return nan_where_nan(pair.before.logits.argmax(1) == pair.labels, pair.before.logits)
