"""Smoothed heatmaps, on which small shifts matter little."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def smooth(heatmap: Tensor, window: int) -> Tensor:
    """(N, H * W) float64 means over a window around each pixel.

    The window holds the pixels at most `window` rows and columns away. It ends at the border. Sums of few float32
    numbers are exact in float64, so that equal windows stay equal.
    """
    mean = F.avg_pool2d(heatmap.double().unsqueeze(1), 2 * window + 1, 1, window, count_include_pad=False)
    return mean.flatten(1)
