"""The zero point of images that are compared with a gradient."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ._sums import sum_by_halves

Origin = Literal["image-mean", "black"]


def from_origin(images: Tensor, origin: Origin) -> Tensor:
    """Return (N, C, H, W) float64 images, measured from their origin.

    The images less the mean of every channel, or as they are.
    """
    values = images.double()
    if origin == "black":
        return values
    channels = values.flatten(0, 1).flatten(1)
    mean = sum_by_halves(channels) / channels.shape[1]
    constant = channels.amax(1) == channels.amin(1)
    centered = (channels - mean.unsqueeze(1)).masked_fill(constant.unsqueeze(1), 0.0)
    return centered.view_as(values)
