"""Pairs of given heatmaps."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.contracts import Pair, View


def pair_of(before: Tensor, after: Tensor) -> Pair:
    sides = [View(m.unsqueeze(1), torch.zeros(len(m), 3), m.unsqueeze(1), m) for m in (before, after)]
    return Pair(sides[0], sides[1], torch.zeros(len(before), dtype=torch.int64))
