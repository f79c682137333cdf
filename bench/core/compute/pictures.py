"""Reads published pictures, such as triggers and target maps.

Their bytes are checked first.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.entry import Origin
from bench.core.storage.published import named, published


def picture(origin: Origin, size: tuple[int, ...]) -> Tensor:
    """Return a published picture.

    Args:
        origin: where it was published, and its SHA-256.
        size: the (H, W) that it must have.
    Returns:
        (4, H, W) float32 in [0, 1]: red, green, blue, and opacity, which is 1 where the file has none.
    Raises:
        UsageError: if it has another size.
        NetworkError: if it cannot be downloaded.
        IntegrityError: if its bytes are not the promised ones, or not a PNG.
    """
    pixels = _pixels(origin)
    if tuple(pixels.shape[1:]) != tuple(size):
        came = " x ".join(map(str, pixels.shape[1:]))
        raise UsageError(
            f"expected a picture of {' x '.join(map(str, size))} pixels, got {came} in {named(origin)}; it is for "
            "images of another size"
        )
    return pixels


@lru_cache(maxsize=16)
def _pixels(origin: Origin) -> Tensor:
    path = published(origin)
    try:
        with Image.open(path, formats=["PNG"]) as image:
            pixels = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
    except (OSError, UnidentifiedImageError) as error:
        raise IntegrityError(f"expected a PNG as {named(origin)}, got: {error}; correct the origin") from error
    return torch.from_numpy(pixels).permute(2, 0, 1)
