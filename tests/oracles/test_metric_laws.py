"""Laws that every metric obeys."""

from __future__ import annotations

import math

import pytest
import torch

from bench.core.contracts import Metric, Pair
from metrics.accuracy import Accuracy
from metrics.confidence_change import ConfidenceChange
from metrics.cosine import Cosine
from metrics.cosine_abs import CosineAbs
from metrics.entropy import Entropy
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
from tests.oracles.pairs import heatmap_pair, identical, name_of, part, random_pair, swapped, view_of

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
