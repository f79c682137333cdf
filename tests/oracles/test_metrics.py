"""The metrics against scipy, brute force and identities."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench.core.contracts import Metric, Pair, View
from bench.core.errors import UsageError
from metrics.accuracy import Accuracy
from metrics.confidence_change import ConfidenceChange
from metrics.cosine import Cosine
from metrics.cosine_abs import CosineAbs
from metrics.entropy import Entropy
from metrics.feasible_kendall import FeasibleKendall
from metrics.feasible_topk_intersection import FeasibleTopkIntersection
from metrics.gini import Gini
from metrics.kendall import Kendall
from metrics.l2_distance import L2Distance
from metrics.lens_precision import LensPrecision
from metrics.lens_recall import LensRecall
from metrics.mass_center_shift import MassCenterShift
from metrics.pearson import Pearson
from metrics.prediction_kept import PredictionKept
from metrics.spearman import Spearman
from metrics.ssim import Ssim
from metrics.topk_intersection import TopkIntersection
from metrics.topk_intersection_corrected import TopkIntersectionCorrected

HEATMAP_METRICS: tuple[Metric, ...] = (
    TopkIntersection(k=7),
    TopkIntersectionCorrected(k=7),
    Kendall(),
    Spearman(),
    MassCenterShift(),
    LensRecall(k=7),
    LensPrecision(k=7),
    Pearson(),
    CosineAbs(),
    L2Distance(),
    Ssim(),
    Entropy(),
    Gini(),
)
METRICS: tuple[Metric, ...] = (*HEATMAP_METRICS, Cosine(), PredictionKept(), Accuracy(), ConfidenceChange())
RANK_METRICS: tuple[Metric, ...] = (
    Kendall(),
    Spearman(),
    TopkIntersection(k=7),
    TopkIntersectionCorrected(k=7),
    LensRecall(k=7),
    LensPrecision(k=7),
)
ONE_SIDED = (Accuracy, Entropy, Gini, ConfidenceChange, LensRecall, LensPrecision)
"""Metrics that see before and after differently."""


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("metric", METRICS, ids=name_of)
def test_an_unchanged_sample_has_the_best_value(metric: Metric, dtype: torch.dtype) -> None:
    pair = random_pair(count=40, dtype=dtype)
    value = metric(Pair(pair.before, pair.before, pair.labels))
    low, high = metric.bounds
    if isinstance(metric, ConfidenceChange):
        assert value.tolist() == [0] * 40
    elif metric.higher_is == "neutral":
        assert identical(value, metric(pair))
    else:
        assert value.tolist() == [high if metric.higher_is == "more-robust" else low] * 40


@pytest.mark.parametrize("metric", METRICS, ids=name_of)
def test_values_are_float64_within_bounds(metric: Metric) -> None:
    value = metric(random_pair(count=200))
    low, high = metric.bounds
    assert value.shape == (200,)
    assert value.dtype == torch.float64
    assert value.min() >= low
    assert value.max() <= high
    assert len(set(value.tolist())) > 1


def test_the_bounds_of_top_k_and_rank_metrics_are_reached_by_reversal() -> None:
    ramp = torch.arange(16.0).view(1, 4, 4)
    pair = heatmap_pair(ramp, -ramp)
    assert Kendall()(pair).item() == Spearman()(pair).item() == TopkIntersectionCorrected(k=8)(pair).item() == -1
    assert TopkIntersection(k=8)(pair).item() == 0


@pytest.mark.parametrize("metric", [m for m in METRICS if not isinstance(m, ONE_SIDED)], ids=name_of)
def test_symmetric_metrics_are_symmetric_to_the_last_bit(metric: Metric) -> None:
    pair = random_pair()
    assert identical(metric(pair), metric(swapped(pair)))


@pytest.mark.parametrize("size", [5, 28, 32])
@pytest.mark.parametrize("metric", METRICS, ids=name_of)
def test_a_value_does_not_depend_on_the_batch(metric: Metric, size: int) -> None:
    draw = torch.Generator().manual_seed(size)
    before, after = (
        view_of(torch.randn(70, 3, size, size, generator=draw), torch.randn(70, 4, generator=draw)) for _ in range(2)
    )
    pair = Pair(before, after, torch.randint(0, 4, (70,), generator=draw))
    whole = metric(pair)
    assert identical(whole, torch.cat([metric(part(pair, slice(i, i + 1))) for i in range(70)]))
    assert identical(whole[1:68], metric(part(pair, slice(1, 68))))


@pytest.mark.parametrize("metric", METRICS, ids=name_of)
def test_an_empty_batch_gives_no_values(metric: Metric) -> None:
    assert metric(part(random_pair(), slice(0, 0))).shape == (0,)


@pytest.mark.parametrize("metric", RANK_METRICS, ids=name_of)
def test_rank_metrics_ignore_increasing_functions_of_the_values(metric: Metric) -> None:
    pair = random_pair()
    before, after = pair.before.heatmap, pair.after.heatmap
    assert identical(metric(pair), metric(heatmap_pair((before / 2).exp(), after**3 - 5)))


@pytest.mark.parametrize("metric", [Kendall(), Spearman()], ids=name_of)
def test_correlations_ignore_where_pixels_lie_and_turn_with_the_order(metric: Metric) -> None:
    pair = random_pair()
    places = torch.randperm(64, generator=torch.Generator().manual_seed(4))
    before, after = (v.heatmap.flatten(1)[:, places].view(-1, 8, 8) for v in (pair.before, pair.after))
    assert identical(metric(pair), metric(heatmap_pair(before, after)))
    assert identical(metric(pair), -metric(heatmap_pair(-before, after)))


@pytest.mark.parametrize("side", ["before", "after", "both"])
@pytest.mark.parametrize("metric", [Kendall(), Spearman()], ids=name_of)
def test_a_constant_heatmap_has_no_rank_correlation(metric: Metric, side: str) -> None:
    varied, constant = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(6)), torch.full((2, 4, 4), 0.3)
    before = varied if side == "after" else constant
    after = varied if side == "before" else constant
    assert metric(heatmap_pair(before, after)).isnan().all()


def test_a_zero_attribution_has_neither_direction_nor_center() -> None:
    pair = random_pair(count=3)
    zero = view_of(torch.zeros_like(pair.before.attribution))
    for metric in (Cosine(), MassCenterShift()):
        assert metric(Pair(pair.before, zero, pair.labels)).isnan().all()
        assert metric(Pair(zero, pair.after, pair.labels)).isnan().all()
    signed = torch.tensor([[[1.0, -1.0]]])
    assert MassCenterShift()(heatmap_pair(signed, signed.abs())).isnan().all()


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("metric", METRICS, ids=name_of)
def test_nan_in_gives_nan_out_for_that_sample_only(metric: Metric, side: str) -> None:
    pair = random_pair()
    clean = metric(pair)
    view = getattr(pair, side)
    view.attribution[2, 0, 3, 3] = view.heatmap[2, 3, 3] = view.logits[2, 1] = math.nan
    value = metric(pair)
    unseen = {"Accuracy": "after", "Entropy": "after", "Gini": "after"}
    sees_it = unseen.get(name_of(metric)) != side
    assert value.isnan().tolist() == [sees_it and row == 2 for row in range(9)]
    assert identical(value[3:], clean[3:])


@pytest.mark.parametrize("metric", HEATMAP_METRICS, ids=name_of)
def test_the_layout_in_memory_does_not_matter(metric: Metric) -> None:
    pair = random_pair()
    before, after = (v.heatmap.transpose(1, 2) for v in (pair.before, pair.after))
    assert identical(metric(heatmap_pair(before, after)), metric(heatmap_pair(before.contiguous(), after.contiguous())))


@pytest.mark.parametrize("metric", [TopkIntersection, TopkIntersectionCorrected], ids=lambda m: m.__name__)
def test_k_is_checked(metric: Any) -> None:
    assert metric().k == 100
    for value in (0, -3, 2.5, "many"):
        with pytest.raises(ValidationError):
            metric(k=value)
    with pytest.raises(UsageError, match="between 1 and 64 pixels, got 100"):
        metric()(random_pair())
