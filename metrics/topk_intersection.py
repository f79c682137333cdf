"""Share of the k most important pixels that stay the most important."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair, Role
from bench.core.schemas.protocol import Direction

from ._topk import shared_top_k


@dataclass(frozen=True, kw_only=True)
class TopkIntersection(Metric):
    """IN = |S_k(I) ∩ S_k(I')| / k on heatmaps of N pixels.

    S_k are the k largest pixels. Unrelated heatmaps reach k/N by chance.

    Source:
        Ghorbani, Abid, Zou 2019. Reference codes: amiratag/InterpretationFragility,
        jfc43/robust-attribution-regularization, nupurkmr9/Attributional-Robustness.
        Differs: ties go to the lower pixel index in both heatmaps; the reference codes mix an unstable argsort for one
        heatmap with a stable top-k for the other.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"
    role: ClassVar[Role] = "companion"
    place: ClassVar[int] = 1

    k: int = Field(default=100, ge=1)
    """How many of a heatmap's largest pixels are its top."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [0, 1].

        NaN where a heatmap is constant or holds a NaN.
        """
        return shared_top_k(pair, self.k) / self.k
