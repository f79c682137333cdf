"""Cosine between an image and the gradient of its explained logit."""

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
class InputGradientAlignment(OneSided):
    """Cosine <x, g> / (|x| |g|) over all pixels and channels.

    g = dz_y/dx is the gradient of the explained logit. x is the image less the means of its channels. Neutral:
    gradients of robust networks look like the image, but this likeness alone is not robustness.

    Source:
        Etmann et al. 2019 (alignment); Singh et al. 2020 compare by cosine.
        Differs: Etmann et al. take x as it is (`origin = "black"`), do not divide by |x|, and differentiate the margin
        of the two largest logits; Singh et al. take x less the data set's mean, over its deviation.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    asks_model: ClassVar[bool] = True
    reads_maps: ClassVar[bool] = False

    of: Side = "before"
    origin: Origin = "image-mean"
    """What counts as zero of the image. Each channel's mean, or black."""

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where the gradient, or the image less its origin, is zero everywhere.
        """
        probe, images = probe_of(self, pair), view_of(pair, self.of).images
        return cosine(from_origin(images, self.origin), probe.gradient(images))
