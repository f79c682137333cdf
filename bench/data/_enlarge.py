"""Conversion of images for networks that were trained on another image set."""

from __future__ import annotations

import torch
from torch import Tensor


def enlarge(images: Tensor, side: int) -> Tensor:
    """(N, C, side, side) uint8: the images, enlarged.

    The enlargement is bilinear with aligned pixel centers; edges are repeated, and halves are rounded up. It computes
    in whole numbers, so that every machine gives the same bytes.
    """
    values = images.long()
    for axis in (2, 3):
        before, after, weight = _neighbours(images.shape[axis], side)
        weight = weight.view([-1 if dim == axis else 1 for dim in range(4)])
        near, far = values.index_select(axis, before), values.index_select(axis, after)
        values = near * (2 * side - weight) + far * weight
    scale = (2 * side) ** 2
    return ((2 * values + scale) // (2 * scale)).to(torch.uint8)


def _neighbours(length: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    """(side,) both neighbours of every new pixel, and the second one's weight.

    The weight is in units of 1 / (2 side).
    """
    place = (2 * torch.arange(side) + 1) * length - side  # (i + 1/2) length / side - 1/2, in units of 1 / (2 side)
    before = place.div(2 * side, rounding_mode="floor")
    weight = place - before * 2 * side
    return before.clamp(0, length - 1), (before + 1).clamp(0, length - 1), weight
