"""Pairs of random or given heatmaps, for the oracles of metrics."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.core.contracts import Metric, Pair, View


def name_of(metric: Metric) -> str:
    return type(metric).__name__


def view_of(attribution: Tensor, logits: Tensor | None = None) -> View:
    logits = torch.zeros(len(attribution), 3) if logits is None else logits
    return View(torch.zeros_like(attribution), logits, attribution, attribution.abs().sum(1))


def heatmap_pair(before: Tensor, after: Tensor) -> Pair:
    """Return a pair with these heatmaps.

    Everything else is zero.
    """
    sides = [View(m.unsqueeze(1), torch.zeros(len(m), 3), m.unsqueeze(1), m) for m in (before, after)]
    return Pair(sides[0], sides[1], torch.zeros(len(before), dtype=torch.int64))


def random_pair(count: int = 9, size: int = 8, dtype: torch.dtype = torch.float32) -> Pair:
    """Attributions with heavy ties (few levels), many zeros, and unrelated logits."""
    draw = torch.Generator().manual_seed(5)
    before = torch.randint(-4, 5, (count, 3, size, size), generator=draw).to(dtype)
    after = before + torch.randint(-2, 3, before.shape, generator=draw).to(dtype)
    logits = [torch.randn(count, 3, generator=draw, dtype=dtype) for _ in range(2)]
    labels = torch.randint(0, 3, (count,), generator=draw)
    return Pair(view_of(before / 8, logits[0]), view_of(after / 8, logits[1]), labels)


def swapped(pair: Pair) -> Pair:
    return Pair(pair.after, pair.before, pair.labels)


def part(pair: Pair, rows: slice) -> Pair:
    sides = [
        View(v.images[rows], v.logits[rows], v.attribution[rows], v.heatmap[rows]) for v in (pair.before, pair.after)
    ]
    return Pair(sides[0], sides[1], pair.labels[rows])


def identical(first: Tensor, second: Tensor) -> bool:
    """Equal to the last bit, where NaN equals NaN."""
    return torch.equal(first.isnan(), second.isnan()) and torch.equal(first.nan_to_num(9.0), second.nan_to_num(9.0))
