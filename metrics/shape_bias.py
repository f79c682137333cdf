"""Whether the network answers by shape rather than by texture."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Pair

from ._cues import CueMetric, answers


@dataclass(frozen=True, kw_only=True)
class ShapeBias(CueMetric):
    """1 for an answer by shape, 0 for one by texture.

    Images have the shape of one category and the texture of another. The mean over them is shape / (shape + texture
    answers). Neutral: it says what a network looks at.

    Source:
        Geirhos et al. 2019. Reference code: rgeirhos/texture-vs-shape.
        Differs: nothing; images on which the answer is a third category have no value.
    """

    version: ClassVar[int] = 1

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values, 0 or 1.

        NaN where the answer is neither, a logit is NaN, or the sample has no cues.
        """
        found = answers(self, pair)
        return found.where(found >= 0, float("nan"))
