"""Change of the probability of the class predicted before the attack."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction


@dataclass(frozen=True, kw_only=True)
class ConfidenceChange(Metric):
    """p'_c - p_c, the change of a probability.

    c is the class predicted before the attack, p the softmax of the logits. Neutral: a collapse towards a change of
    class makes an attack less hidden, but no map less robust.

    Source:
        Dombrowski et al. 2019 hold it small by a term of their loss; Huang et al. 2023 (SAFARI) report it.
        Differs: signed; reported, not constrained.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    reads_maps: ClassVar[bool] = False

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where a logit is not finite.
        """
        predicted = pair.before.logits.argmax(1, keepdim=True)
        before, after = (
            v.logits.double().softmax(1).gather(1, predicted).squeeze(1) for v in (pair.before, pair.after)
        )
        return after - before
