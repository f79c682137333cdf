"""From a signed attribution to the map that people look at, and what attacks and metrics need of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.core.errors import UsageError
from bench.core.schemas.protocol import HeatmapRule


def reduce(attribution: Tensor, rule: HeatmapRule) -> Tensor:
    """(N, C, H, W) attribution to the (N, H, W) heatmap of a protocol's rule."""
    if rule == "sum-of-abs":
        return attribution.abs().sum(1)
    if rule == "max-of-abs":
        return attribution.abs().amax(1)
    total = attribution.sum(1)
    return total.abs() if rule == "abs-of-sum" else total


def normalize(heatmap: Tensor) -> Tensor:
    """(N, H, W) to the same shape with mean 1; a map of sum 0 stays as it is."""
    # Axis by axis, so that the order of additions, hence the last bit, is the same for one map as for many.
    mean = heatmap.mean(2, keepdim=True).mean(1, keepdim=True)
    return heatmap / torch.where(mean == 0, torch.ones_like(mean), mean)


def top_k_mask(heatmap: Tensor, k: int) -> Tensor:
    """(N, H, W) bool: the k largest pixels of each map; among equals the lower pixel index wins.

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
    """(N, H, W) bool: the pixels at most `window` rows and columns away from one of the mask; nothing wraps around."""
    grown: Tensor = F.max_pool2d(mask.float().unsqueeze(1), 2 * window + 1, stride=1, padding=window)
    return grown.squeeze(1) > 0


def mass_center(heatmap: Tensor) -> Tensor:
    """(N, 2) float: row and column, in pixels, of each non-negative map's center of mass.

    NaN where the map's sum is 0.
    """
    _, height, width = heatmap.shape
    # Sums axis by axis, no matrix product: the last bit must be the same for one map as for many.
    by_row, by_column = heatmap.sum(2), heatmap.sum(1)
    total = by_row.sum(1)
    total = total.masked_fill(total == 0, torch.nan)
    rows = torch.arange(height, dtype=heatmap.dtype, device=heatmap.device)
    columns = torch.arange(width, dtype=heatmap.dtype, device=heatmap.device)
    return torch.stack([(by_row * rows).sum(1) / total, (by_column * columns).sum(1) / total], dim=1)
