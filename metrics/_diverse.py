"""Diverse tops of heatmaps: large pixels that are not near each other."""

from __future__ import annotations

import torch
from torch import Tensor


def diverse_top_k(heatmap: Tensor, k: int, window: int) -> Tensor:
    """Return (N, H, W) bool masks of the diverse top.

    The largest pixel is picked, then the largest outside of its window, and so on, k times. A pixel's window holds the
    pixels at most w = `window` rows and columns away. It ends at the border. Among equals the lower pixel index wins.
    Where no pixel is left there are fewer picks; k <= ceil(H / (2w + 1)) ceil(W / (2w + 1)) find room.
    """
    count, height, width = heatmap.shape
    order = torch.sort(heatmap.flatten(1), dim=1, descending=True, stable=True).indices
    places = torch.arange(height * width, 0, -1, device=heatmap.device)
    priority = torch.zeros_like(order).scatter_(1, order, places.expand_as(order)).view_as(heatmap)
    rows, columns = (torch.arange(size, device=heatmap.device) for size in (height, width))
    picked = torch.zeros_like(priority, dtype=torch.bool)
    for _ in range(min(k, height * width)):
        left, best = priority.flatten(1).max(1)
        if not left.any():
            break
        row, column = (best // width).view(count, 1, 1), (best % width).view(count, 1, 1)
        here = (rows.view(1, -1, 1) == row) & (columns.view(1, 1, -1) == column)
        picked |= here & left.view(count, 1, 1).gt(0)
        near = ((rows.view(1, -1, 1) - row).abs() <= window) & ((columns.view(1, 1, -1) - column).abs() <= window)
        priority = priority.masked_fill(near, 0)
    return picked


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Return (N,) float64 ratios of the sizes of two masks.

    How many pixels of the mask `part` there are for each pixel of `whole`; both are (N, H, W) bool.
    """
    return part.flatten(1).sum(1).double() / whole.flatten(1).sum(1)
