"""Cosine between the absolute maps of an image and its gradient."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Pair
from bench.core.schemas.protocol import Direction

from ._alignment import Origin, from_origin
from ._probe import probe_of
from ._sides import OneSided, Side, view_of
from ._sums import cosine


@dataclass(frozen=True, kw_only=True)
class InputGradientAlignmentAbs(OneSided):
    """Cosine <X, G> / (|X| |G|) of two absolute maps.

    X = mean_c |x|, G = mean_c |g|, g = dz_y/dx. x is the image less the means of its channels. Unrelated maps do not
    have the value 0: for half-normal values chance is near 2/pi. Neutral, as the signed alignment is.

    Source:
        Singh et al. 2020. Reference code: nupurkmr9/Attributional-Robustness, which builds both maps and does not
        compare them.
        Differs: x less its own channels' means (or as it is: `origin = "black"`), where the reference takes the data
        set's mean and deviation.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    asks_model: ClassVar[bool] = True
    reads_maps: ClassVar[bool] = False

    of: Side = "before"
    origin: Origin = "image-mean"
    """What counts as zero of the image. Each channel's mean, or black."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [0, 1].

        NaN where the gradient, or the image less its origin, is zero everywhere.
        """
        probe, images = probe_of(self, pair), view_of(pair, self.of).images
        return cosine(from_origin(images, self.origin).abs().sum(1), probe.gradient(images).abs().sum(1))
