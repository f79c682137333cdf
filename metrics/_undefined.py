"""What a sample's value is where its inputs are no numbers."""

from __future__ import annotations

import torch
from torch import Tensor


def nan_where_nan(values: Tensor, *inputs: Tensor) -> Tensor:
    """(N,) float64: the values, and NaN for each sample of which one of the (N, ...) inputs holds a NaN.

    Comparisons and sorts give NaN some rank of their own instead of passing it on; this passes it on.
    """
    broken = torch.stack([each.flatten(1).isnan().any(1) for each in inputs]).any(0)
    return values.double().masked_fill(broken, torch.nan)
