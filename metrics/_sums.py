"""Sums over pixels that are the same in every batch.

Their last bit depends on the number of pixels alone. Metrics build norms and correlations from them.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def sum_by_halves(values: Tensor) -> Tensor:
    """Return the (N,) sums of (N, n) rows.

    The order of additions, hence the last bit, depends on n alone: not on N, threads or the device.
    """
    while values.shape[1] > 1:
        half = (values.shape[1] + 1) // 2
        values = values[:, :half] + F.pad(values[:, half:], (0, values.shape[1] % 2))
    return values.squeeze(1)


def largest_to_one(values: Tensor) -> Tensor:
    """Return (N, n) float64 rows whose largest absolute value is 1.

    NaN where a row of the (N, ...) input is zero everywhere or not finite.
    """
    # Squares of very small numbers would vanish; of values that are zero everywhere this makes NaN.
    flat = values.flatten(1).double()
    return flat / flat.abs().amax(1, keepdim=True)


def sum_to_one(heatmaps: Tensor) -> Tensor:
    """(N, H * W) float64 shares of a map's summed absolute values.

    NaN where a map of the (N, H, W) input is zero everywhere or not finite.
    """
    sizes = largest_to_one(heatmaps).abs()
    return sizes / sum_by_halves(sizes).unsqueeze(1)


def norm(values: Tensor) -> Tensor:
    """Return the (N,) Euclidean lengths of (N, n) rows."""
    return sum_by_halves(values * values).sqrt()


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """Return (N,) float64 cosines in [-1, 1] between (N, ...) tensors.

    NaN where a row is zero everywhere or has a value that is not finite.
    """
    a, b = largest_to_one(first), largest_to_one(second)
    return (sum_by_halves(a * b) / (sum_by_halves(a * a) * sum_by_halves(b * b)).sqrt()).clamp(-1, 1)


def centered(heatmaps: Tensor) -> Tensor:
    """(N, H*W) float64 maps of mean 0 and largest size 1.

    NaN where one of the (N, H, W) maps is constant or not finite.
    """
    flat = largest_to_one(heatmaps)
    constant = flat.amax(1) == flat.amin(1)
    mean = sum_by_halves(flat).unsqueeze(1) / flat.shape[1]
    return largest_to_one((flat - mean).masked_fill(constant.unsqueeze(1), torch.nan))
