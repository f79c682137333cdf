"""The overlap that the top-k metrics share."""

from __future__ import annotations

from torch import Tensor

from bench.core.compute.heatmap import top_k_mask
from bench.core.contracts import Pair

from ._undefined import nan_where_constant


def shared_top_k(pair: Pair, k: int) -> Tensor:
    """Return (N,) float64 counts of pixels in the top of both heatmaps.

    The top holds the k largest pixels. NaN as `nan_where_constant` says.
    """
    before, after = pair.before.heatmap, pair.after.heatmap
    shared = top_k_mask(before, k) & top_k_mask(after, k)
    return nan_where_constant(shared.flatten(1).sum(1), before, after)
