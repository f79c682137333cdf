"""Losses on heatmaps that several attacks increase.

Every loss is finite on maps that are zero everywhere.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.compute.heatmap import normalize

FAINT = 0.01
"""Share of a map's mean below which pixels count as equally dark."""


def mass_inside(heatmap: Tensor, mask: Tensor) -> Tensor:
    """(N,) mass of the sum-normalised (N, H, W) heatmap inside the mask."""
    return (normalize(heatmap) * mask).sum((1, 2))


def mass_outside(heatmap: Tensor, mask: Tensor) -> Tensor:
    """(N,) minus the mass of the sum-normalised heatmap inside the mask."""
    return -mass_inside(heatmap, mask)


def cosine_distance(heatmap: Tensor, reference: Tensor) -> Tensor:
    """(N,) 1 - cosine of the angle between (N, H, W) maps."""
    return 1 - _cosine(normalize(heatmap), normalize(reference))


def correlation_distance(heatmap: Tensor, reference: Tensor) -> Tensor:
    """(N,) 1 - Pearson correlation of two (N, H, W) maps."""
    return 1 - _cosine(_centered(normalize(heatmap)), _centered(normalize(reference)))


def rank_distance(heatmap: Tensor, ranks: Tensor) -> Tensor:
    """(N,) 1 - Pearson correlation of log-maps (N, H, W) with ranks.

    A rank correlation sees the order of pixels only. Without the logarithm the few largest pixels would dominate.
    """
    return 1 - _cosine(_centered((normalize(heatmap) + FAINT).log()), _centered(ranks))


def order(heatmap: Tensor) -> Tensor:
    """(N, H, W) ranks of a map's pixels, 0 for the smallest.

    Equal pixels are ranked in the order of their places.
    """
    ranks = heatmap.flatten(1).argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return ranks.view_as(heatmap).to(heatmap)


def center_distance(heatmap: Tensor, center: Tensor) -> Tensor:
    """(N,) squared distances of centers of mass from given (N, 2) centers.

    Distances are in pixels.
    """
    return (center_of(heatmap) - center).square().sum(1)


def center_of(heatmap: Tensor) -> Tensor:
    """(N, 2) centers of mass of (N, H, W) maps.

    Row and column, in pixels; a map of zeros gives the corner 0, 0.
    """
    shares = normalize(heatmap) / heatmap.shape[1:].numel()
    rows, columns = (torch.arange(size).to(shares) for size in heatmap.shape[1:])
    return torch.stack([(shares.sum(2) * rows).sum(1), (shares.sum(1) * columns).sum(1)], dim=1)


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    lengths = _sum(first.square()).clamp(min=1e-12).sqrt() * _sum(second.square()).clamp(min=1e-12).sqrt()
    return _sum(first * second) / lengths


def _centered(heatmap: Tensor) -> Tensor:
    return heatmap - heatmap.mean(2, keepdim=True).mean(1, keepdim=True)


def _sum(heatmap: Tensor) -> Tensor:
    # Axis by axis, so that the last bit is the same for one map as for many.
    return heatmap.sum(2).sum(1)
