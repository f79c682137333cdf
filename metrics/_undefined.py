"""The values of samples for which a metric is not defined."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.contracts import Pair


def nan_where_nan(values: Tensor, *inputs: Tensor) -> Tensor:
    """Return (N,) float64 values, NaN where an input holds a NaN.

    An input is (N, ...). Comparisons and sorts give NaN a rank instead of passing it on.
    """
    broken = torch.stack([each.flatten(1).isnan().any(1) for each in inputs]).any(0)
    return values.double().masked_fill(broken, torch.nan)


def nan_where_constant(values: Tensor, *heatmaps: Tensor) -> Tensor:
    """Return (N,) float64 values, NaN where a heatmap is constant.

    Also where one of the (N, H, W) heatmaps holds a NaN. A constant map has no top and no order: among equals only
    the index of a pixel would decide. Top-k metrics once gave such maps the value 1. Their versions did not change:
    only published records of the control `natural-constant-map` hold such maps.
    """
    flat = [heatmap.flatten(1) for heatmap in heatmaps]
    constant = torch.stack([each.amax(1) == each.amin(1) for each in flat]).any(0)
    return nan_where_nan(values, *heatmaps).masked_fill(constant, torch.nan)


def nan_where_infeasible(values: Tensor, pair: Pair) -> Tensor:
    """Return (N,) values, NaN where the attack broke a rule.

    The judge puts the clean image back there.
    """
    return values if pair.feasible is None else torch.where(pair.feasible, values, torch.nan)
