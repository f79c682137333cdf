"""Whether the attack left the predicted class as it was."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._undefined import nan_where_nan


@dataclass(frozen=True, kw_only=True)
class PredictionKept(Metric):
    """Equality of the predicted classes before and after, 1 or 0.

    1 if the attack's image has the predicted class of the clean image, whatever the label. Where the protocol keeps
    predictions, 0 marks an image that the judge put back because its class had changed; elsewhere, an attribution that
    was compared across a change of class.

    Source:
        The constraint of Ghorbani, Abid, Zou 2019, reported as a number.
        Differs: nothing.
    """

    version: ClassVar[int] = 2
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"
    reads_maps: ClassVar[bool] = False

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values, 0 or 1.

        NaN where a logit is NaN.
        """
        before, after = pair.before.logits, pair.after.logits
        kept = before.argmax(1) == after.argmax(1)
        return nan_where_nan(kept if pair.feasible is None else kept & pair.feasible, before, after)
