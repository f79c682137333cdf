"""Reduces signed attributions to heatmaps, and computes properties of heatmaps."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.errors import UsageError
from bench.core.schemas.protocol import HeatmapRule


def reduce(attribution: Tensor, rule: HeatmapRule) -> Tensor:
    """(N, H, W): the heatmap of an (N, C, H, W) attribution."""
    if rule == "sum-of-abs":
        return attribution.abs().sum(1)
    if rule == "max-of-abs":
        return attribution.abs().amax(1)
    total = attribution.sum(1)
    return total.abs() if rule == "abs-of-sum" else total


def normalize(heatmap: Tensor) -> Tensor:
    """(N, H, W): the maps scaled to mean 1.

    A map whose sum is 0 does not change.
    """
    # Axis by axis, so that the order of additions, and with it the last bit, does not depend on N.
    mean = heatmap.mean(2, keepdim=True).mean(1, keepdim=True)
    return heatmap / torch.where(mean == 0, torch.ones_like(mean), mean)


def top_k_mask(heatmap: Tensor, k: int) -> Tensor:
    """(N, H, W) bool: the k largest pixels per map.

    Among equal pixels the lower index wins.

    Raises:
        UsageError: if k is not between 1 and the number of pixels.
    """
    flat = heatmap.flatten(1)
    if not 1 <= k <= flat.shape[1]:
        raise UsageError(f"expected k between 1 and {flat.shape[1]} pixels, got {k}; lower it")
    order = torch.sort(flat, dim=1, descending=True, stable=True).indices[:, :k]
    mask = torch.zeros_like(flat, dtype=torch.bool).scatter_(1, order, True)
    return mask.view_as(heatmap)


def dilate(mask: Tensor, window: int) -> Tensor:
    """(N, H, W) bool: the mask grown by `window` rows and columns.

    It does not wrap around at the edges.
    """
    grown: Tensor = F.max_pool2d(mask.float().unsqueeze(1), 2 * window + 1, stride=1, padding=window)
    return grown.squeeze(1) > 0


def mass_center(heatmap: Tensor) -> Tensor:
    """(N, 2) float: row and column of the centers of mass.

    They are in pixels. The maps must not be negative. The center is NaN where the map's sum is 0.
    """
    _, height, width = heatmap.shape
    # Sums axis by axis, no matrix product: the last bit must not depend on N.
    by_row, by_column = heatmap.sum(2), heatmap.sum(1)
    total = by_row.sum(1)
    total = total.masked_fill(total == 0, torch.nan)
    rows = torch.arange(height, dtype=heatmap.dtype, device=heatmap.device)
    columns = torch.arange(width, dtype=heatmap.dtype, device=heatmap.device)
    return torch.stack([(by_row * rows).sum(1) / total, (by_column * columns).sum(1) / total], dim=1)
