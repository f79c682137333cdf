"""Sheets of images in rows and columns."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from bench.studies._removal import without

GAP = 2
"""White pixels between two images."""


def gallery(images: Tensor, ranks: Tensor, shares: Sequence[float], fill: Sequence[float]) -> bytes:
    """Return a PNG with one row per image.

    The columns are the image, its order of pixels (white: the most important), the image without the most important
    pixels at every share, and without the least important.

    Args:
        images: (N, C, H, W) uint8, with 1 or 3 channels.
        ranks: (N, H, W) from `removal_order`.
        shares: shares of the pixels that are removed.
        fill: what replaces them, per channel, in [0, 1].
    """
    order = 255 - 255 * ranks // max(1, ranks[0].numel() - 1)
    columns = [images, order.unsqueeze(1).expand_as(images).to(torch.uint8)]
    columns += [without(images, ranks, s, most=most, fill=fill) for most in (True, False) for s in shares]
    return laid_out(torch.stack([column.expand(-1, 3, -1, -1) for column in columns], dim=1))


def laid_out(tiles: Tensor) -> bytes:
    """Return a PNG of tiles with white gaps.

    Args:
        tiles: (rows, columns, 3, H, W) uint8.
    """
    padded = torch.nn.functional.pad(tiles, (0, GAP, 0, GAP), value=255)
    rows, columns, channels, h, w = padded.shape
    whole = padded.permute(0, 3, 1, 4, 2).reshape(rows * h, columns * w, channels)[
        : rows * h - GAP, : columns * w - GAP
    ]
    out = io.BytesIO()
    Image.fromarray(whole.contiguous().numpy()).save(out, "PNG")
    return out.getvalue()
