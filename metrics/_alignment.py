"""Where the images lie whose direction is compared with a gradient's."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ._sums import sum_by_halves

Origin = Literal["image-mean", "black"]


def from_origin(images: Tensor, origin: Origin) -> Tensor:
    """(N, C, H, W) float64: the images less the mean of each of their channels, or as they are."""
    values = images.double()
    if origin == "black":
        return values
    channels = values.flatten(0, 1).flatten(1)
    mean = sum_by_halves(channels) / channels.shape[1]
    constant = channels.amax(1) == channels.amin(1)
    centered = (channels - mean.unsqueeze(1)).masked_fill(constant.unsqueeze(1), 0.0)
    return centered.view_as(values)
