"""Smooth stand-ins for rank metrics, which attacks increase.

Rank metrics themselves have no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bench.core.compute.heatmap import normalize

FAINT = 0.02
"""Share of a map's mean below which pixels count as equally dark."""

RANK_TEMPERATURE, TOP_TEMPERATURE = 0.3, 0.25
"""Differences of log-heatmaps over which an order counts as undecided."""

OFFSETS = 128
"""Differences of rank at which pixels are compared: all of maps up to 256 pixels, of larger ones evenly spaced."""

TOGETHER = 16
"""Differences compared at once: few, so that the pairs stay in a processor's cache."""


def discordance(
    heatmap: Tensor, order: Tensor, sorted_before: Tensor, *, temperature: float = RANK_TEMPERATURE
) -> Tensor:
    """(N,) soft shares of pixel pairs whose order changed.

    As the temperature goes to 0, a share tends to (1 - Kendall) / 2. A pair of pixels i, j with i below j on the clean
    map counts sigmoid((l_i - l_j) / temperature), where l is the logarithm of the heatmap over its mean. Pairs that are
    tied on the clean map do not count.

    Args:
        heatmap: (N, H, W).
        order: (N, H * W) int64. Pixels of the clean heatmap from the smallest to the largest.
        sorted_before: (N, H * W). The clean heatmap's values in that order.
        temperature: > 0.
    """
    logs = _logs(heatmap).flatten(1).gather(1, order)
    value: Tensor = _Discordance.apply(logs, sorted_before, temperature)  # type: ignore[no-untyped-call]
    return value


def in_order(heatmap: Tensor) -> tuple[Tensor, Tensor]:
    """Return the targets of `discordance`, sorted pixels and their values.

    Pixels go from the smallest to the largest.
    """
    values, order = heatmap.flatten(1).sort(dim=1, stable=True)
    return order, values


def exchanged_top(heatmap: Tensor, mask: Tensor) -> Tensor:
    """(N,) soft shares of the top that other pixels took.

    The top holds the k largest pixels, where the mask has k pixels. A masked pixel counts
    sigmoid((l_(k) - l) / temperature), any other pixel sigmoid((l - l_(k)) / temperature): l_(k), the k-th largest log,
    is a threshold without gradient. As the temperature goes to 0, half of their sum over k tends to 1 minus the top-k
    intersection.

    Args:
        heatmap: (N, H, W).
        mask: (N, H, W) bool. The clean map's top, k pixels per image.
    """
    logs = _logs(heatmap)
    count = int(mask[0].sum())
    threshold = logs.detach().flatten(1).topk(count, dim=1).values[:, -1].view(-1, 1, 1)
    above = (logs - threshold) / TOP_TEMPERATURE
    return torch.where(mask, -above, above).sigmoid().sum(2).sum(1) / (2 * count)


def _logs(heatmap: Tensor) -> Tensor:
    return (normalize(heatmap) + FAINT).log()


class _Discordance(torch.autograd.Function):
    """The value of `discordance`, with its gradient from the same pass.

    Autograd would keep every pair in memory.
    """

    @staticmethod
    def forward(ctx: Any, logs: Tensor, before: Tensor, temperature: float) -> Tensor:
        length = logs.shape[1]
        share, gradient, places = logs.new_zeros(len(logs)), torch.zeros_like(logs), _range(length, logs)
        pairs = logs.new_zeros(len(logs))
        ties = bool((before[:, 1:] == before[:, :-1]).any())
        for offsets in torch.split(_offsets(length, logs), TOGETHER):
            # On a ring: beyond its end the pair is the other way round.
            sign = torch.where(places + offsets.unsqueeze(1) < length, 1.0, -1.0).to(logs) / temperature
            weight = torch.where(2 * offsets == length, 0.5, 1.0).to(logs)  # there each pair comes twice
            chance = (logs.unsqueeze(1) - _turned(logs, offsets)).mul_(sign).sigmoid_()
            slope = (1 - chance).mul_(chance).mul_(sign * weight.unsqueeze(1))
            if ties:
                ordered = before.unsqueeze(1) != _turned(before, offsets)
                chance, slope, counted = chance * ordered, slope * ordered, ordered.sum(2)
            else:
                counted = offsets.new_full((1, len(offsets)), length)
            share += (chance.sum(2) * weight).sum(1)
            pairs += (counted * weight).sum(1)
            back = [part.roll(offset, 1) for part, offset in zip(slope.unbind(1), offsets.tolist(), strict=True)]
            gradient += slope.sum(1) - torch.stack(back, 1).sum(1)
        pairs = pairs.clamp(min=1)
        ctx.save_for_backward(gradient / pairs.unsqueeze(1))
        return share / pairs

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream[0].unsqueeze(1), None, None


def _turned(values: Tensor, offsets: Tensor) -> Tensor:
    """(N, m, n): the rows of (N, n) values, turned by offsets.

    With (m,) offsets, place r holds the value from place r + offset.
    """
    return torch.cat([values, values], 1).unfold(1, values.shape[1], 1)[:, offsets]


def _offsets(length: int, like: Tensor) -> Tensor:
    """Return at most `OFFSETS` differences of rank.

    They are evenly spaced from 1 to half of the pixels.
    """
    half = length // 2
    return torch.linspace(1, half, min(half, OFFSETS), device=like.device).round().long()


def _range(length: int, like: Tensor) -> Tensor:
    return torch.arange(length, device=like.device)
