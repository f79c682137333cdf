"""How far the heatmap goes to the map that an attacker wants to be seen."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.pictures import picture
from bench.core.contracts import Metric, Pair
from bench.core.schemas.entry import Origin

from ._sums import centered, cosine


@dataclass(frozen=True, kw_only=True)
class TargetCorrelation(Metric):
    """Pearson correlation, over all pixels, of the heatmap after the attack and a published picture's grey levels.

    Source:
        Noppel, Peter, Wressnegger 2023. Reference code: intellisec/xai-backdoors.
        Differs: the reference reports the mean squared error and SSIM; a correlation does not depend on scale.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Literal["more-robust", "less-robust", "neutral"]] = "less-robust"

    target: Origin
    """The published picture, of the images' size; white is high relevance."""

    def __call__(self, pair: Pair) -> Tensor:
        """(N,) float64 in [-1, 1]; NaN where the heatmap is constant or not finite somewhere.

        Raises:
            UsageError: if the picture has another size than the images.
            NetworkError, IntegrityError: if it cannot be had as promised.
        """
        heatmap = pair.after.heatmap
        target = picture(self.target, heatmap.shape[1:])[:3].mean(0).to(heatmap)
        return cosine(centered(heatmap), centered(target.expand_as(heatmap)))
