"""Rank correlations of many rows at once, exact under ties.

The computation uses whole numbers up to the one division at the end. As no rounding happens before that division, a
row's value cannot depend on the batch, the device or the order of sums.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._undefined import nan_where_nan

_PAIRS_AT_ONCE = {"cpu": 2**20, "cuda": 2**28}
"""Comparisons held in memory at a time, one byte each. They about fit a core's cache, or fill a GPU."""


def kendall_tau_b(first: Tensor, second: Tensor) -> Tensor:
    """Return (N,) float64 values, Kendall's tau-b of every row.

    NaN where a row is constant or holds a NaN. Knight's algorithm: in the order of `second` (ties by `first`), the
    discordant pairs are the inversions of the places that the elements take in the order of `first` (ties by `second`).
    Each order comes from stable sorts.

    Args:
        first: (N, n) real numbers.
        second: (N, n) real numbers.
    """
    by_second = second.sort(dim=1, stable=True).indices
    first_sorted, by_first = first.gather(1, by_second).sort(dim=1, stable=True)
    second_by_first = second.gather(1, by_second.gather(1, by_first))
    second_sorted, places = second_by_first.sort(dim=1, stable=True)

    begins_first = _begins_run(first_sorted)
    tied_first, tied_second = _tied_pairs(begins_first), _tied_pairs(_begins_run(second_sorted))
    tied_both = _tied_pairs(begins_first | _begins_run(second_by_first))

    pairs = math.comb(first.shape[1], 2)
    difference = pairs - tied_first - tied_second + tied_both - 2 * inversions(places)
    return nan_where_nan(_correlation(difference, pairs - tied_first, pairs - tied_second), first, second)


def spearman_rho(first: Tensor, second: Tensor) -> Tensor:
    """Return (N,) float64 values, Spearman's rho of every row.

    It is the Pearson correlation of the row's mid-ranks; NaN where a row is constant or holds a NaN.

    Args:
        first: (N, n) real numbers.
        second: (N, n) real numbers.
    """
    a, b = centered_mid_ranks(first), centered_mid_ranks(second)
    return nan_where_nan(_correlation((a * b).sum(1), (a * a).sum(1), (b * b).sum(1)), first, second)


def centered_mid_ranks(values: Tensor) -> Tensor:
    """Return (N, n) int64 mid-ranks, doubled and centered.

    Twice each element's mid-rank (ties share their mean rank), less twice the row's mean rank.
    """
    in_order, order = values.sort(1)
    begins = _begins_run(in_order)
    ends = torch.cat([begins[:, 1:], begins[:, :1]], 1)
    first, last_from_end = _run_start(begins), _run_start(ends.flip(1)).flip(1)
    return torch.empty_like(order).scatter_(1, order, first - last_from_end)


def inversions(places: Tensor) -> Tensor:
    """Return the (N,) int64 numbers of wrongly ordered pairs per row.

    Positions and values are cut into blocks of about sqrt(n). A pair is then in one block of positions (compared
    directly), or else in one block of values (compared directly, from the values' side), or in different blocks of
    both (counted in a table of the number of elements per pair of blocks). That is O(n^1.5) comparisons without
    branches, which at image sizes is faster than the n log n of a merge sort.

    Args:
        places: (N, n) int64. Each row is a permutation of 0 .. n-1.
    """
    length = places.shape[1]
    width = math.isqrt(length - 1) + 1 if length else 1
    # Places appended in order invert nothing and fill up the last blocks.
    rest = torch.arange(length, width * width, device=places.device).expand(len(places), -1)
    whole, step = torch.cat([places, rest], 1), max(1, _PAIRS_AT_ONCE[places.device.type] // width**3)
    parts = [_inversions_by_blocks(whole[i : i + step], width) for i in range(0, len(whole), step)]
    return torch.cat(parts) if parts else whole.sum(1)


def _inversions_by_blocks(places: Tensor, width: int) -> Tensor:
    count = len(places)
    square = (count, width, width)
    block = (torch.arange(width * width, device=places.device) // width).expand_as(places)
    value_block = places // width
    position_block = torch.empty_like(places).scatter_(1, places, block)

    table = torch.zeros_like(places).scatter_add_(1, block * width + value_block, torch.ones_like(places)).view(square)
    earlier = table.cumsum(1) - table
    earlier_and_larger = earlier.sum(2, keepdim=True) - earlier.cumsum(2)

    across = (table * earlier_and_larger).sum((1, 2))
    return across + _inversions_inside(places.view(square)) + _inversions_inside(position_block.view(square))


def _inversions_inside(blocks: Tensor) -> Tensor:
    # float32 holds these numbers exactly (up to 2**24), and is compared several times faster than any integer type.
    values, width = blocks.float(), blocks.shape[2]
    earlier = torch.ones(width, width, dtype=torch.bool, device=blocks.device).triu(1)
    return ((values.unsqueeze(3) > values.unsqueeze(2)) & earlier).flatten(1).sum(1, dtype=torch.int32)


def _begins_run(in_order: Tensor) -> Tensor:
    return torch.cat([torch.ones_like(in_order[:, :1], dtype=torch.bool), in_order[:, 1:] != in_order[:, :-1]], 1)


def _run_start(begins: Tensor) -> Tensor:
    position = torch.arange(begins.shape[1], device=begins.device)
    return torch.where(begins, position, 0).cummax(1).values


def _tied_pairs(begins: Tensor) -> Tensor:
    # Each element makes a pair with every earlier one of its run.
    position = torch.arange(begins.shape[1], device=begins.device)
    return (position - _run_start(begins)).sum(1)


def _correlation(covariance: Tensor, first: Tensor, second: Tensor) -> Tensor:
    # Rounding is monotone and sqrt(m * m) is m: the quotient is in [-1, 1], is 1 for equal rows, and is symmetric.
    return covariance.double() / (first.double() * second.double()).sqrt()
