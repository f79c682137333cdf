"""Whether the network answers with one of an image's two categories."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Pair

from ._cues import CueMetric, answers


@dataclass(frozen=True, kw_only=True)
class CueAnswers(CueMetric):
    """1 if the answer is one of the image's two categories.

    0 for another category. It says how many images `shape-bias` is over. Neutral.

    Source:
        Geirhos et al. 2019, the share of images with either cue's category.
        Differs: nothing.
    """

    version: ClassVar[int] = 1

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values, 0 or 1.

        NaN where a logit is NaN, or the sample has no cues.
        """
        found = answers(self, pair)
        return (found >= 0).double().where(~found.isnan(), float("nan"))
