"""Each metric of two heatmaps against its definition."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.errors import UsageError
from metrics.accuracy import Accuracy
from metrics.cosine import Cosine
from metrics.feasible_kendall import FeasibleKendall
from metrics.feasible_topk_intersection import FeasibleTopkIntersection
from metrics.kendall import Kendall
from metrics.mass_center_shift import MassCenterShift
from metrics.prediction_kept import PredictionKept
from metrics.spearman import Spearman
from metrics.topk_intersection import TopkIntersection
from metrics.topk_intersection_corrected import TopkIntersectionCorrected
from tests.oracles.pairs import heatmap_pair, random_pair, swapped, view_of


def test_negative_zero_ties_with_zero() -> None:
    before, after = torch.tensor([[[0.0, 1.0, -0.0, 2.0]]]), torch.tensor([[[-0.0, 1.0, 0.0, 2.0]]])
    for metric in (Kendall(), Spearman(), TopkIntersection(k=3)):
        assert metric(heatmap_pair(before, after)).item() == 1


@pytest.mark.parametrize("k", [1, 2, 5, 35, 36])
def test_top_k_intersection_agrees_with_sets(k: int) -> None:
    draw = torch.Generator().manual_seed(k)
    before, after = (torch.randint(0, 5, (30, 6, 6), generator=draw).float() for _ in range(2))

    def largest(heatmap: Tensor) -> set[int]:
        values = heatmap.flatten().tolist()
        return set(sorted(range(36), key=lambda pixel: (-values[pixel], pixel))[:k])

    expected = torch.tensor([len(largest(a) & largest(b)) / k for a, b in zip(before, after, strict=True)])
    value = TopkIntersection(k=k)(heatmap_pair(before, after))
    torch.testing.assert_close(value, expected.double())

    corrected = TopkIntersectionCorrected(k=k)(heatmap_pair(before, after))
    if k == 36:
        assert corrected.isnan().all()
    else:
        torch.testing.assert_close(corrected, (expected.double() - k / 36) / (1 - k / 36))


def test_corrected_intersection_of_unrelated_heatmaps_is_zero_on_average() -> None:
    draw = torch.Generator().manual_seed(0)
    before, after = (torch.rand(2000, 16, 16, generator=draw) for _ in range(2))
    pair = heatmap_pair(before, after)
    assert TopkIntersectionCorrected(k=100)(pair).mean().abs() < 0.005
    assert TopkIntersection(k=100)(pair).mean() == pytest.approx(100 / 256, abs=0.005)


def test_mass_center_shift_agrees_with_brute_force() -> None:
    draw = torch.Generator().manual_seed(2)
    before, after = (torch.rand(5, 6, 9, generator=draw) for _ in range(2))

    def center(heatmap: Tensor) -> tuple[float, float]:
        cells = [(r, c, heatmap[r, c].item()) for r in range(6) for c in range(9)]
        total = math.fsum(mass for _, _, mass in cells)
        return math.fsum(r * mass for r, _, mass in cells) / total, math.fsum(c * mass for _, c, mass in cells) / total

    expected = [math.dist(center(a), center(b)) for a, b in zip(before, after, strict=True)]
    assert MassCenterShift()(heatmap_pair(before, after)).tolist() == pytest.approx(expected, abs=1e-12)


def test_mass_center_shift_of_a_moved_pixel_is_its_way() -> None:
    before, after = torch.zeros(1, 8, 8), torch.zeros(1, 8, 8)
    before[0, 1, 2], after[0, 4, 6] = 3.0, 0.5
    assert MassCenterShift()(heatmap_pair(before, after)).item() == 5


def test_cosine_agrees_with_float64_and_keeps_signs() -> None:
    draw = torch.Generator().manual_seed(3)
    before, after = (torch.randn(6, 3, 5, 5, generator=draw) for _ in range(2))
    value = Cosine()(Pair(view_of(before), view_of(after), torch.zeros(6)))
    expected = torch.cosine_similarity(before.flatten(1).double(), after.flatten(1).double())
    torch.testing.assert_close(value, expected, atol=1e-14, rtol=0)
    assert Cosine()(Pair(view_of(before), view_of(-before), torch.zeros(6))).tolist() == [-1] * 6


def test_cosine_of_parallel_attributions_is_one_and_never_more() -> None:
    draw = torch.Generator().manual_seed(8)
    before = torch.randn(500, 1, 3, 3, generator=draw, dtype=torch.float64)
    after = before * torch.rand(500, 1, 1, 1, generator=draw, dtype=torch.float64)
    value = Cosine()(Pair(view_of(before), view_of(after), torch.zeros(500)))
    assert value.max() == 1
    torch.testing.assert_close(value, torch.ones(500, dtype=torch.float64), atol=1e-14, rtol=0)


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e38])
def test_cosine_and_mass_center_shift_do_not_hang_on_scale(scale: float) -> None:
    pair = random_pair()
    factor = torch.tensor(scale, dtype=torch.float64)
    scaled = Pair(
        view_of(pair.before.attribution.double() * factor), view_of(pair.after.attribution.double()), pair.labels
    )
    plain = Pair(view_of(pair.before.attribution.double()), scaled.after, pair.labels)
    for metric in (Cosine(), MassCenterShift()):
        torch.testing.assert_close(metric(scaled), metric(plain), atol=1e-12, rtol=0)


def test_cosine_of_very_small_float64_attributions_is_defined() -> None:
    tiny = torch.full((1, 1, 2, 2), 1e-200, dtype=torch.float64)
    assert Cosine()(Pair(view_of(tiny), view_of(tiny), torch.zeros(1))).item() == 1


def test_accuracy_and_prediction_kept_compare_classes() -> None:
    before = torch.tensor([[3.0, 1.0], [3.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    after = torch.tensor([[3.0, 1.0], [0.0, 1.0], [0.0, 9.0], [5.0, 1.0]])
    blank = torch.zeros(4, 1, 2, 2)
    pair = Pair(view_of(blank, before), view_of(blank, after), torch.tensor([0, 1, 1, 0]))
    put_back = replace(pair, feasible=torch.tensor([False, True, True, True]))
    assert PredictionKept()(put_back).tolist() == [0, 0, 1, 0]
    assert Accuracy()(pair).tolist() == [1, 0, 1, 0]
    assert PredictionKept()(pair).tolist() == [1, 0, 1, 0]
    assert Accuracy()(swapped(pair)).tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("strict", "metric"),
    [(FeasibleKendall(), Kendall()), (FeasibleTopkIntersection(k=7), TopkIntersection(k=7))],
    ids=["kendall", "topk-intersection"],
)
def test_samples_whose_attack_failed_are_left_out(strict: Metric, metric: Metric) -> None:
    pair = random_pair(count=4)
    kept = torch.tensor([True, False, True, False])
    values = strict(replace(pair, feasible=kept))
    assert values.isnan().tolist() == (~kept).tolist()
    assert values[kept].tolist() == metric(pair)[kept].tolist()
    assert strict(pair).tolist() == metric(pair).tolist()


def test_a_zero_attribution_has_neither_direction_nor_center() -> None:
    pair = random_pair(count=3)
    zero = view_of(torch.zeros_like(pair.before.attribution))
    for metric in (Cosine(), MassCenterShift()):
        assert metric(Pair(pair.before, zero, pair.labels)).isnan().all()
        assert metric(Pair(zero, pair.after, pair.labels)).isnan().all()
    signed = torch.tensor([[[1.0, -1.0]]])
    assert MassCenterShift()(heatmap_pair(signed, signed.abs())).isnan().all()


@pytest.mark.parametrize("metric", [TopkIntersection, TopkIntersectionCorrected], ids=lambda m: m.__name__)
def test_k_is_checked(metric: Any) -> None:
    assert metric().k == 100
    for value in (0, -3, 2.5, "many"):
        with pytest.raises(ValidationError):
            metric(k=value)
    with pytest.raises(UsageError, match="between 1 and 64 pixels, got 100"):
        metric()(random_pair())
