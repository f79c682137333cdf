"""What soundness checks need to know of heatmaps and logits, image by image.

Sums go axis by axis, so that the last bit is the same for one image as for many.
"""

from __future__ import annotations

import torch
from torch import Tensor

REPEATED = 1e-3
"""Share of a heatmap's largest value by which two looks at one image may differ: a GPU adds in no fixed order."""

ROUNDING = 1e-4
"""By which a row of probabilities may miss the sum of 1."""


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """(N,) Pearson correlation of two (N, H, W) maps; NaN where one is constant."""
    a, b = (heatmap - _mean(heatmap).view(-1, 1, 1) for heatmap in (first.double(), second.double()))
    lengths = (_mean(a.square()) * _mean(b.square())).sqrt()
    return _mean(a * b) / torch.where(lengths > 0, lengths, torch.nan)


def contrast(heatmap: Tensor) -> Tensor:
    """(N,) standard deviation of each (N, H, W) map over its mean absolute value; 0 where it is constant."""
    exact = heatmap.double()
    deviation = _mean((exact - _mean(exact).view(-1, 1, 1)).square()).sqrt()
    size = _mean(exact.abs())
    return deviation / torch.where(size > 0, size, torch.ones_like(size))


def tied(heatmap: Tensor) -> Tensor:
    """(N,) share of each (N, H, W) map's pixels whose value another pixel has too, exactly."""
    ordered = heatmap.flatten(1).sort(1).values
    equal = ordered[:, 1:] == ordered[:, :-1]
    nobody = equal.new_zeros(len(equal), 1)
    return (torch.cat([nobody, equal], 1) | torch.cat([equal, nobody], 1)).double().mean(1)


def same_maps(first: Tensor, second: Tensor) -> Tensor:
    """(N,) bool: whether two (N, H, W) maps, or logits shaped as such, agree up to the order of additions."""
    return (first - second).abs().amax((1, 2)) <= REPEATED * first.abs().amax((1, 2))


def are_probabilities(logits: Tensor) -> Tensor:
    """(N,) bool: whether each row of (N, K) numbers is a distribution over the classes, as logits hardly ever are."""
    return (logits >= 0).all(1) & ((logits.sum(1) - 1).abs() <= ROUNDING)


def _mean(heatmap: Tensor) -> Tensor:
    return heatmap.mean(2).mean(1)
