"""Diverse tops, smoothed ranks and success rates, against scipy and loops."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from scipy.ndimage import generic_filter
from torch import Tensor

from metrics._diverse import diverse_top_k
from metrics.attack_success import AttackSuccess
from metrics.kendall import Kendall
from metrics.lens_kendall import LensKendall
from metrics.lens_precision_div import LensPrecisionDiv
from metrics.lens_recall_div import LensRecallDiv
from metrics.lens_spearman import LensSpearman
from metrics.spearman import Spearman
from metrics.topk_div_intersection import TopkDivIntersection
from metrics.topk_intersection import TopkIntersection
from tests.oracles.map_pairs import pair_of

Pixel = tuple[int, int]
DIVERSE = (TopkDivIntersection, LensRecallDiv, LensPrecisionDiv)


@pytest.fixture(params=[(8, 8), (13, 9), (5, 21)], ids=str)
def maps(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    """Maps with ties, zeros and few values among them."""
    draw = torch.Generator().manual_seed(5)
    before = torch.rand((6, *request.param), generator=draw)
    before[:2] = (4 * before[:2]).floor()
    return before, torch.where(torch.rand(before.shape, generator=draw) < 0.3, before.flip(2), before)


def near(a: Pixel, b: Pixel, window: int) -> bool:
    return abs(a[0] - b[0]) <= window and abs(a[1] - b[1]) <= window


def picks(heatmap: Tensor, k: int, window: int) -> list[Pixel]:
    """The definition, pixel by pixel."""
    left = list(product(range(heatmap.shape[0]), range(heatmap.shape[1])))
    found: list[Pixel] = []
    while left and len(found) < k:
        top = max(left, key=lambda p: (heatmap[p].item(), -p[0], -p[1]))
        found.append(top)
        left = [p for p in left if not near(p, top, window)]
    return found


def values(before: list[Pixel], after: list[Pixel], window: int) -> dict[type, float]:
    return {
        TopkDivIntersection: len({*before} & {*after}) / max(len(before), len(after)),
        LensRecallDiv: sum(any(near(p, q, window) for q in before) for p in after) / len(after),
        LensPrecisionDiv: sum(any(near(p, q, window) for q in after) for p in before) / len(before),
    }


@pytest.mark.parametrize(("k", "window"), [(1, 1), (4, 0), (6, 1), (5, 2), (40, 1), (500, 1)])
def test_diverse_tops_are_those_of_the_loop(maps: tuple[Tensor, Tensor], k: int, window: int) -> None:
    tops = [[picks(one, k, window) for one in side] for side in maps]
    for side, expected in zip(maps, tops, strict=True):
        found = diverse_top_k(side, k, window)
        assert [{tuple(p) for p in one.nonzero().tolist()} for one in found] == [{*one} for one in expected]
    for metric in DIVERSE:
        expected_values = [values(a, b, window)[metric] for a, b in zip(*tops, strict=True)]
        assert metric(k=k, window=window)(pair_of(*maps)).tolist() == pytest.approx(expected_values)


def test_windows_do_not_wrap_pixel_0_can_be_picked_and_the_second_pick_counts() -> None:
    heatmap = torch.zeros(1, 4, 6)
    heatmap[0, 1, 5], heatmap[0, 2, 0], heatmap[0, 0, 0] = 3.0, 2.0, 1.0  # (1, 5) and (2, 0) are neighbours if flat
    assert diverse_top_k(heatmap, 3, 1).nonzero()[:, 1:].tolist() == [[0, 0], [1, 5], [2, 0]]


def test_so_many_as_the_rule_says_always_find_room() -> None:
    draw = torch.Generator().manual_seed(0)
    heatmaps = torch.rand((20, 32, 32), generator=draw)
    assert diverse_top_k(heatmaps, 11 * 11, 1).flatten(1).sum(1).eq(11 * 11).all()


def test_without_windows_they_are_the_plain_ones(maps: tuple[Tensor, Tensor]) -> None:
    pair = pair_of(*maps)
    for metric in DIVERSE:
        assert torch.equal(metric(k=7, window=0)(pair), TopkIntersection(k=7)(pair))
    assert torch.equal(LensKendall(window=0)(pair), Kendall()(pair))
    assert torch.equal(LensSpearman(window=0)(pair), Spearman()(pair))


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize(
    ("metric", "oracle"),
    [(LensKendall, stats.kendalltau), (LensSpearman, stats.spearmanr)],
    ids=["kendall", "spearman"],
)
def test_smoothed_ranks_are_scipys(
    maps: tuple[Tensor, Tensor], metric: Any, oracle: Callable[..., Any], window: int
) -> None:
    def smoothed(heatmap: Tensor) -> npt.NDArray[np.float64]:
        size = 2 * window + 1
        # Sums and counts apart, so that scipy's means tie where the windows do.
        sums, counts = (
            generic_filter(values, np.sum, size, mode="constant")
            for values in (heatmap.double().numpy(), np.ones(heatmap.shape))
        )
        result: npt.NDArray[np.float64] = sums / counts
        return result.ravel()

    expected = [oracle(smoothed(a), smoothed(b)).statistic for a, b in zip(*maps, strict=True)]
    assert metric(window=window)(pair_of(*maps)).tolist() == pytest.approx(expected, abs=1e-9)


def test_smoothing_forgives_a_shift_by_a_pixel() -> None:
    draw = torch.Generator().manual_seed(3)
    before = torch.rand((4, 24, 24), generator=draw)
    pair = pair_of(before, before.roll(1, 2))
    assert (LensKendall()(pair) > Kendall()(pair) + 0.3).all()
    assert (LensRecallDiv(k=30)(pair) > TopkDivIntersection(k=30)(pair) + 0.3).all()


def test_success_is_a_correlation_below_theta(maps: tuple[Tensor, Tensor]) -> None:
    pair = pair_of(*maps)
    taus = [stats.kendalltau(a.flatten(), b.flatten()).statistic for a, b in zip(*maps, strict=True)]
    for theta in (-0.5, sorted(taus)[3] - 1e-6, 0.5, 1.0):
        assert AttackSuccess(theta=theta)(pair).tolist() == [float(tau < theta) for tau in taus]
    assert AttackSuccess(theta=1.0)(pair_of(maps[0], maps[0])).tolist() == [0.0] * 6
    assert AttackSuccess()(pair_of(maps[0], torch.zeros_like(maps[0]))).isnan().all()


@pytest.mark.parametrize("metric", [*DIVERSE, LensKendall, LensSpearman, AttackSuccess])
def test_a_nan_spoils_its_sample_alone(maps: tuple[Tensor, Tensor], metric: Any) -> None:
    before, after = maps[0], maps[1].clone()
    after[1, 2, 3] = torch.nan
    found, usual = metric()(pair_of(before, after)), metric()(pair_of(*maps))
    assert found.isnan().tolist() == [False, True, False, False, False, False]
    assert torch.equal(found[2:], usual[2:])
