"""Rank correlations against scipy, inversions against counting pairs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from metrics import _ranks

# A rank correlation's (ours, scipy's) pair.
CORRELATIONS = [
    pytest.param(_ranks.kendall_tau_b, stats.kendalltau, id="kendall"),
    pytest.param(_ranks.spearman_rho, stats.spearmanr, id="spearman"),
]


def scipy_rows(oracle: Any, first: Tensor, second: Tensor) -> Tensor:
    def one(a: Tensor, b: Tensor) -> float:
        # On constant rows scipy's answer is NaN, with a warning that is an error here.
        constant = len(a) < 2 or bool((a == a[0]).all() or (b == b[0]).all())
        return math.nan if constant else float(oracle(a.numpy(), b.numpy()).statistic)

    return torch.tensor([one(a, b) for a, b in zip(first, second, strict=True)], dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("levels", [1, 2, 3, 10, 10**6])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 16, 17, 100, 784, 1024])
@pytest.mark.parametrize(("ours", "oracle"), CORRELATIONS)
def test_correlations_agree_with_scipy(ours: Any, oracle: Any, length: int, levels: int, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(length * levels)
    first, second = (torch.randint(0, levels, (12, length), generator=draw).to(dtype) / 3 for _ in range(2))
    second[:3] = first[:3] * torch.tensor([[1.0], [-1.0], [0.0]])  # equal, reversed, constant
    torch.testing.assert_close(
        ours(first, second), scipy_rows(oracle, first, second), atol=1e-12, rtol=0, equal_nan=True
    )


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(-2, 2), st.floats(-1, 1, width=16, allow_subnormal=False)), min_size=1, max_size=40)
)
def test_correlations_agree_with_scipy_on_any_values(pixels: list[tuple[int, float]]) -> None:
    first, second = torch.tensor(pixels, dtype=torch.float64).T.unsqueeze(1).unbind()
    for ours, oracle in ((_ranks.kendall_tau_b, stats.kendalltau), (_ranks.spearman_rho, stats.spearmanr)):
        expected = scipy_rows(oracle, first, second)
        torch.testing.assert_close(ours(first, second), expected, atol=1e-12, rtol=0, equal_nan=True)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 60).flatmap(lambda n: st.permutations(range(n))))
def test_inversions_agree_with_counting_pairs(row: list[int]) -> None:
    expected = sum(row[i] > row[j] for i in range(len(row)) for j in range(i + 1, len(row)))
    assert _ranks.inversions(torch.tensor([row])).tolist() == [expected]


def test_inversions_of_reversed_and_sorted_rows_are_all_and_none() -> None:
    for length in (1, 2, 1023, 1024, 1025, 3072):
        up = torch.arange(length)
        assert _ranks.inversions(torch.stack([up, up.flip(0)])).tolist() == [0, length * (length - 1) // 2]


def test_correlations_stay_exact_beyond_what_float32_can_count() -> None:
    # 40 000 pixels have 8e8 pairs: float32 would lose the single discordant one.
    before = torch.arange(40_000).unsqueeze(0)
    after = before.clone()
    after[0, :2] = torch.tensor([1, 0])
    pairs = 40_000 * 39_999 // 2
    assert _ranks.kendall_tau_b(before, after).item() == (pairs - 2) / pairs


def test_centered_mid_ranks_agree_with_scipy() -> None:
    values = torch.randint(0, 6, (20, 33), generator=torch.Generator().manual_seed(1)).float()
    expected = 2 * stats.rankdata(values.numpy(), axis=1) - 34
    np.testing.assert_array_equal(_ranks.centered_mid_ranks(values).numpy(), expected)
