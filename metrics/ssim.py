"""Structural similarity of the heatmaps before and after."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor
from torch.nn import functional as F

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._sums import largest_to_one, sum_by_halves

_WINDOW, _C1, _C2 = 7, 0.01**2, 0.03**2


@dataclass(frozen=True, kw_only=True)
class Ssim(Metric):
    """Mean structural similarity over 7x7 windows.

    In each window (2 m m' + C1)(2 cov + C2) / ((m^2 + m'^2 + C1)(v + v' + C2)), C1 = 1e-4, C2 = 9e-4. Each heatmap is
    first divided by its largest absolute value: on maps of sum 1 the constants would swamp the values.

    Source:
        Wang et al. 2004; used by Dombrowski et al. 2019. scikit-image's defaults: uniform windows, sample covariance.
        Differs: each map is scaled by its own largest value; images smaller than 7x7 have no value.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values in [-1, 1].

        NaN where a heatmap is zero everywhere or has a value that is not finite.
        """
        before, after = (largest_to_one(v.heatmap).view(v.heatmap.shape) for v in (pair.before, pair.after))
        if min(before.shape[1:]) < _WINDOW:
            return before.new_full((len(before),), torch.nan)
        mean, mean_after = _window_means(before), _window_means(after)
        sample = _WINDOW**2 / (_WINDOW**2 - 1)
        variance = sample * (_window_means(before * before) - mean * mean)
        variance_after = sample * (_window_means(after * after) - mean_after * mean_after)
        covariance = sample * (_window_means(before * after) - mean * mean_after)
        likeness = (2 * mean * mean_after + _C1) * (2 * covariance + _C2)
        likeness = likeness / ((mean.square() + mean_after.square() + _C1) * (variance + variance_after + _C2))
        return (sum_by_halves(likeness) / likeness.shape[1]).clamp(-1, 1)


def _window_means(maps: Tensor) -> Tensor:
    """Return the (N, windows) means of (N, H, W) maps."""
    return F.avg_pool2d(maps.unsqueeze(1), _WINDOW, stride=1).flatten(1)
