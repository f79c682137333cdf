"""Losses on heatmaps that several attacks increase; each is finite on maps that are zero everywhere."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.compute.heatmap import normalize

FAINT = 0.01
"""Share of a map's mean below which pixels count as equally dark."""


def mass_inside(heatmap: Tensor, mask: Tensor) -> Tensor:
    """(N,) the mass that the (N, H, W) sum-normalised heatmap has inside the mask."""
    return (normalize(heatmap) * mask).sum((1, 2))


def mass_outside(heatmap: Tensor, mask: Tensor) -> Tensor:
    """(N,) minus the mass that the (N, H, W) sum-normalised heatmap has inside the mask."""
    return -mass_inside(heatmap, mask)


def cosine_distance(heatmap: Tensor, reference: Tensor) -> Tensor:
    """(N,) 1 - cosine of the angle between two (N, H, W) maps."""
    return 1 - _cosine(normalize(heatmap), normalize(reference))


def correlation_distance(heatmap: Tensor, reference: Tensor) -> Tensor:
    """(N,) 1 - Pearson correlation of two (N, H, W) maps."""
    return 1 - _cosine(_centered(normalize(heatmap)), _centered(normalize(reference)))


def rank_distance(heatmap: Tensor, ranks: Tensor) -> Tensor:
    """(N,) 1 - Pearson correlation of the logarithm of (N, H, W) maps with (N, H, W) ranks.

    A rank correlation sees the order of pixels only; the logarithm keeps the few largest from drowning the others.
    """
    return 1 - _cosine(_centered((normalize(heatmap) + FAINT).log()), _centered(ranks))


def order(heatmap: Tensor) -> Tensor:
    """(N, H, W) the ranks of each map's pixels, 0 for the smallest; equal ones in the order of their places."""
    ranks = heatmap.flatten(1).argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return ranks.view_as(heatmap).to(heatmap)


def center_distance(heatmap: Tensor, center: Tensor) -> Tensor:
    """(N,) squared distance in pixels of the heatmap's center of mass from an (N, 2) center."""
    return (center_of(heatmap) - center).square().sum(1)


def center_of(heatmap: Tensor) -> Tensor:
    """(N, 2) center of mass of (N, H, W) maps, row and column in pixels; the corner 0, 0 for a map of zeros."""
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
