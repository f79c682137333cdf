"""What a sample's value is where its inputs are no numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.contracts import Pair


def nan_where_nan(values: Tensor, *inputs: Tensor) -> Tensor:
    """(N,) float64: the values, and NaN for each sample of which one of the (N, ...) inputs holds a NaN.

    Comparisons and sorts give NaN some rank of their own instead of passing it on; this passes it on.
    """
    broken = torch.stack([each.flatten(1).isnan().any(1) for each in inputs]).any(0)
    return values.double().masked_fill(broken, torch.nan)


def nan_where_constant(values: Tensor, *heatmaps: Tensor) -> Tensor:
    """(N,) float64: the values, and NaN where one of the (N, H, W) heatmaps is constant or holds a NaN.

    A map of nothing has no top and no order: among equals only the index of a pixel would decide. Top-k metrics once
    said 1 of such maps; their versions stayed, as of the published records only those of the control
    `natural-constant-map` hold any.
    """
    flat = [heatmap.flatten(1) for heatmap in heatmaps]
    constant = torch.stack([each.amax(1) == each.amin(1) for each in flat]).any(0)
    return nan_where_nan(values, *heatmaps).masked_fill(constant, torch.nan)


def nan_where_infeasible(values: Tensor, pair: Pair) -> Tensor:
    """(N,) the values, NaN where the attack broke a rule and the judge put the clean image back."""
    return values if pair.feasible is None else torch.where(pair.feasible, values, torch.nan)
