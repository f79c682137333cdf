"""Likeness of the heatmap to the map that the attacker wants."""

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
    """Pearson correlation of the attacked heatmap with a published picture.

    It is taken over all pixels, with the picture's grey levels.

    Source:
        Noppel, Peter, Wressnegger 2023. Reference code: intellisec/xai-backdoors.
        Differs: the reference reports the mean squared error and SSIM; a correlation does not depend on scale.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Literal["more-robust", "less-robust", "neutral"]] = "less-robust"

    target: Origin
    """The published picture, of the images' size. White is high relevance."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where the heatmap is constant or has a value that is not finite.

        Raises:
            UsageError: if the picture has another size than the images.
            NetworkError, IntegrityError: if the picture cannot be downloaded, or is not the pinned file.
        """
        heatmap = pair.after.heatmap
        target = picture(self.target, heatmap.shape[1:])[:3].mean(0).to(heatmap)
        return cosine(centered(heatmap), centered(target.expand_as(heatmap)))
