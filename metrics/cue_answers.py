"""Whether the network answers with one of an image's two categories."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import AnnotationKind, Metric, Pair
from bench.core.schemas.protocol import Direction

from ._cues import answers


@dataclass(frozen=True, kw_only=True)
class CueAnswers(Metric):
    """1 if the answer is one of the image's two categories.

    0 for another category. It says how many images `shape-bias` is over. Neutral.

    Source:
        Geirhos et al. 2019, the share of images with either cue's category.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    reads_maps: ClassVar[bool] = False
    needs: ClassVar[tuple[AnnotationKind, ...]] = ("cues",)

    @property
    def looks_at_clean_alone(self) -> bool:
        """Return True: the image before a change is judged."""
        return True

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values, 0 or 1.

        NaN where a logit is NaN, or the sample has no cues.
        """
        found = answers(self, pair)
        return (found >= 0).double().where(~found.isnan(), float("nan"))
