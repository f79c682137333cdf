"""Soft ranks and their gradients against oracles.

The oracles are scipy in the limit, a double loop over pairs, and autograd.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from attacks import _soft_ranks
from attacks._soft_ranks import FAINT, OFFSETS, TOP_TEMPERATURE, discordance, exchanged_top, in_order
from bench.core.compute.heatmap import top_k_mask
from bench.core.compute.rng import Rng


def maps(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=Rng(seed).generator(), dtype=torch.float64)


def logs(heatmap: Tensor) -> Tensor:
    return (heatmap / heatmap.mean((1, 2), keepdim=True) + FAINT).log().flatten(1)


def by_pairs(heatmap: Tensor, before: Tensor, temperature: float) -> Tensor:
    values, clean = logs(heatmap), before.flatten(1)
    differences = values.unsqueeze(2) - values.unsqueeze(1)
    counts = clean.unsqueeze(2) < clean.unsqueeze(1)
    return (torch.sigmoid(differences / temperature) * counts).sum((1, 2)) / counts.sum((1, 2))


@pytest.mark.parametrize("side", [7, 8, 16])
def test_discordance_becomes_kendall_as_the_temperature_falls(side: int) -> None:
    after, before = maps(3, side, side), maps(3, side, side, seed=1)
    found = discordance(after, *in_order(before), temperature=1e-9)
    for i in range(3):
        tau = scipy.stats.kendalltau(after[i].flatten(), before[i].flatten()).statistic
        np.testing.assert_allclose(1 - 2 * float(found[i]), tau, atol=1e-9)


@pytest.mark.parametrize("side", [5, 6])
@pytest.mark.parametrize("tied", [False, True])
def test_discordance_is_the_mean_over_pairs_and_so_is_its_gradient(side: int, tied: bool) -> None:
    after, before = maps(2, side, side).requires_grad_(), maps(2, side, side, seed=1)
    before = (4 * before).round() if tied else before
    found, expected = discordance(after, *in_order(before)), by_pairs(after, before, 0.3)
    torch.testing.assert_close(found, expected)
    weights = torch.tensor([1.0, -2.0], dtype=torch.float64)
    gradients = [torch.autograd.grad(value @ weights, after)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_discordance_has_the_gradient_of_finite_differences() -> None:
    before = in_order(maps(1, 4, 4, seed=1))
    assert torch.autograd.gradcheck(lambda h: discordance(h, *before), maps(1, 4, 4).requires_grad_())


def test_pairs_of_large_maps_are_a_fair_sample() -> None:
    side = 32
    assert side * side // 2 > OFFSETS
    after, before = maps(2, side, side).requires_grad_(), maps(2, side, side, seed=1)
    found, expected = discordance(after, *in_order(before)), by_pairs(after, before, 0.3)
    torch.testing.assert_close(found, expected, atol=0.01, rtol=0)
    mine, theirs = (torch.autograd.grad(value.sum(), after)[0] for value in (found, expected))
    assert torch.cosine_similarity(mine.flatten(), theirs.flatten(), dim=0) > 0.97


def test_a_map_without_order_has_no_discordance() -> None:
    flat = torch.ones(2, 4, 4, requires_grad=True)
    value = discordance(flat, *in_order(torch.zeros(2, 4, 4)))
    assert torch.equal(value.detach(), torch.zeros(2))
    assert torch.isfinite(torch.autograd.grad(value.sum(), flat)[0]).all()


def test_pixels_change_places_across_the_threshold_of_the_top() -> None:
    after, before, k = maps(3, 6, 6).requires_grad_(), maps(3, 6, 6, seed=1), 9
    mask = top_k_mask(before, k)
    found = exchanged_top(after, mask)
    values = logs(after)
    threshold = values.detach().sort(dim=1, descending=True).values[:, k - 1 : k]
    fallen = (((threshold - values) / TOP_TEMPERATURE).sigmoid() * mask.flatten(1)).sum(1)
    risen = (((values - threshold) / TOP_TEMPERATURE).sigmoid() * ~mask.flatten(1)).sum(1)
    expected = (fallen + risen) / (2 * k)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v.sum(), after, retain_graph=True)[0] for v in (found, expected)))
    assert (exchanged_top(before, mask) < exchanged_top(-before + 1, mask)).all()


def test_sharp_shares_of_the_top_tend_to_the_intersection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_soft_ranks, "TOP_TEMPERATURE", 1e-6)
    after, before, k = maps(3, 6, 6), maps(3, 6, 6, seed=1), 9
    mask = top_k_mask(before, k)
    kept = (mask & top_k_mask(after, k)).flatten(1).sum(1).double() / k
    on_the_threshold = 0.2501 / k  # the k-th largest pixel counts half, on whichever side it is
    torch.testing.assert_close(exchanged_top(after, mask), 1 - kept, atol=on_the_threshold, rtol=0)
