"""Dense, local and sparsity metrics of heatmaps, against oracles.

The oracles are scipy, scikit-image and brute force.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.ndimage import binary_dilation
from skimage.metrics import structural_similarity
from torch import Tensor

from bench.core.compute.heatmap import dilate, top_k_mask
from bench.core.contracts import Metric, Pair, View
from metrics.confidence_change import ConfidenceChange
from metrics.cosine_abs import CosineAbs
from metrics.entropy import Entropy
from metrics.gini import Gini
from metrics.l2_distance import L2Distance
from metrics.lens_precision import LensPrecision
from metrics.lens_recall import LensRecall
from metrics.pearson import Pearson
from metrics.ssim import Ssim
from metrics.topk_intersection import TopkIntersection
from tests.oracles.map_pairs import pair_of

SCALED = (Pearson(), CosineAbs(), L2Distance(), Ssim(), Entropy(of="after"), Gini(of="after"))
"""Metrics that a map's scale must not touch."""


@pytest.fixture(params=[(8, 8), (13, 9), (32, 32)], ids=str)
def maps(request: pytest.FixtureRequest) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(11)
    before = torch.rand((6, *request.param), generator=draw) ** 3
    return before, before * 0.5 + torch.rand(before.shape, generator=draw)


def rows(maps: tuple[Tensor, Tensor]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(a.double().numpy(), b.double().numpy()) for a, b in zip(*maps, strict=True)]


def test_pearson_agrees_with_scipy(maps: tuple[Tensor, Tensor]) -> None:
    expected = [stats.pearsonr(a.ravel(), b.ravel()).statistic for a, b in rows(maps)]
    assert Pearson()(pair_of(*maps)).tolist() == pytest.approx(expected, abs=1e-12)
    assert Pearson()(pair_of(maps[0], 3 - maps[0])).tolist() == pytest.approx([-1] * 6, abs=1e-6)


def test_pearson_of_a_constant_map_is_undefined() -> None:
    constant = torch.full((1, 7, 7), 0.1)
    ramp = torch.arange(49.0).view(1, 7, 7)
    for pair in (pair_of(constant, ramp), pair_of(ramp, constant), pair_of(constant, constant)):
        assert Pearson()(pair).isnan().all()


def test_cosine_abs_agrees_with_numpy_and_drops_signs(maps: tuple[Tensor, Tensor]) -> None:
    expected = [(a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b) for a, b in rows(maps)]
    assert CosineAbs()(pair_of(*maps)).tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.equal(CosineAbs()(pair_of(maps[0], -maps[1])), CosineAbs()(pair_of(*maps)))


def test_l2_distance_agrees_with_numpy(maps: tuple[Tensor, Tensor]) -> None:
    expected = [math.sqrt(np.mean((a / a.mean() - b / b.mean()) ** 2)) for a, b in rows(maps)]
    assert L2Distance()(pair_of(*maps)).tolist() == pytest.approx(expected, rel=1e-9)


def test_ssim_agrees_with_scikit_image(maps: tuple[Tensor, Tensor]) -> None:
    expected = [structural_similarity(a / a.max(), b / b.max(), data_range=1.0) for a, b in rows(maps)]
    assert Ssim()(pair_of(*maps)).tolist() == pytest.approx(expected, abs=1e-10)


def test_ssim_sees_where_things_are_and_small_images_have_none(maps: tuple[Tensor, Tensor]) -> None:
    before, after = maps
    assert (Ssim()(pair_of(before, after.flip(2))) != Ssim()(pair_of(before, after))).all()
    assert Ssim()(pair_of(before[:, :6], after[:, :6])).isnan().all()


def test_entropy_agrees_with_scipy_and_knows_its_ends(maps: tuple[Tensor, Tensor]) -> None:
    expected = [stats.entropy(b.ravel()) / math.log(b.size) for _, b in rows(maps)]
    assert Entropy(of="after")(pair_of(*maps)).tolist() == pytest.approx(expected, abs=1e-12)
    single = torch.zeros(1, 5, 5).index_put((torch.tensor(0), torch.tensor(2), torch.tensor(1)), torch.tensor(4.0))
    assert Entropy(of="after")(pair_of(single, single)).item() == 0
    assert Entropy(of="after")(pair_of(single, torch.full((1, 5, 5), 0.3))).item() == pytest.approx(1)


def test_gini_is_half_the_relative_mean_difference(maps: tuple[Tensor, Tensor]) -> None:
    expected = [np.abs(b.ravel()[:, None] - b.ravel()).mean() / (2 * b.mean()) for _, b in rows(maps)]
    assert Gini(of="after")(pair_of(*maps)).tolist() == pytest.approx(expected, abs=1e-10)
    assert Gini(of="after")(pair_of(maps[0], torch.ones_like(maps[0]))).tolist() == pytest.approx([0] * 6, abs=1e-12)


@pytest.mark.parametrize("metric", SCALED, ids=lambda m: type(m).__name__)
def test_scale_does_not_matter(metric: Metric, maps: tuple[Tensor, Tensor]) -> None:
    before, after = (m.double() for m in maps)
    torch.testing.assert_close(
        metric(pair_of(before * 1e-30, after * 1e30)), metric(pair_of(before, after)), atol=1e-9, rtol=0
    )


@pytest.mark.parametrize("metric", SCALED, ids=lambda m: type(m).__name__)
def test_a_zero_or_broken_map_is_undefined(metric: Metric, maps: tuple[Tensor, Tensor]) -> None:
    before, after = maps
    broken = torch.stack([torch.zeros_like(after[0]), after[1], after[2].clone(), after[3].clone()])
    broken[2, 0, 0], broken[3, 1, 1] = math.nan, math.inf
    assert metric(pair_of(before[:4], broken)).isnan().tolist() == [True, False, True, True]


@pytest.mark.parametrize("window", [0, 1, 3])
def test_dilation_is_scipys(maps: tuple[Tensor, Tensor], window: int) -> None:
    mask = top_k_mask(maps[0], 5)
    square = np.ones((2 * window + 1, 2 * window + 1), dtype=bool)
    expected = np.stack([binary_dilation(m, square) for m in mask.numpy()])
    assert torch.equal(dilate(mask, window), torch.from_numpy(expected))


@pytest.mark.parametrize("window", [0, 1, 2])
def test_lens_agrees_with_brute_force(maps: tuple[Tensor, Tensor], window: int) -> None:
    def largest(heatmap: Tensor, k: int) -> list[tuple[int, int]]:
        cells = [(r, c) for r in range(heatmap.shape[0]) for c in range(heatmap.shape[1])]
        return sorted(cells, key=lambda cell: -heatmap[cell].item())[:k]

    def near(cell: tuple[int, int], others: list[tuple[int, int]]) -> bool:
        return any(max(abs(cell[0] - r), abs(cell[1] - c)) <= window for r, c in others)

    k = 9
    found: dict[str, list[float]] = {"recall": [], "precision": []}
    for before, after in zip(*maps, strict=True):
        clean, attacked = largest(before, k), largest(after, k)
        found["recall"].append(sum(near(cell, clean) for cell in attacked) / k)
        found["precision"].append(sum(near(cell, attacked) for cell in clean) / k)
    recall, precision = LensRecall(k=k, window=window), LensPrecision(k=k, window=window)
    assert recall(pair_of(*maps)).tolist() == pytest.approx(found["recall"])
    assert precision(pair_of(*maps)).tolist() == pytest.approx(found["precision"])
    assert torch.equal(precision(pair_of(*maps)), recall(pair_of(*reversed(maps))))
    if window == 0:
        assert torch.equal(recall(pair_of(*maps)), TopkIntersection(k=k)(pair_of(*maps)))


def test_windows_end_at_the_border() -> None:
    before, after = torch.zeros(1, 6, 6), torch.zeros(1, 6, 6)
    before[0, 2, 5] = after[0, 3, 0] = 1.0
    assert LensRecall(k=1)(pair_of(before, after)).item() == 0
    after[0, 3, 0], after[0, 3, 4] = 0.0, 1.0
    assert LensRecall(k=1)(pair_of(before, after)).item() == 1


def test_confidence_change_follows_the_class_predicted_before() -> None:
    logits = [torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 5.0]]), torch.tensor([[0.0, 3.0, 0.0], [0.0, 1.0, 6.0]])]
    blank = torch.ones(2, 4, 4)
    sides = [View(blank.unsqueeze(1), z, blank.unsqueeze(1), blank) for z in logits]
    value = ConfidenceChange()(Pair(sides[0], sides[1], torch.zeros(2, dtype=torch.int64)))
    expected = 1 / (2 + math.exp(3)) - math.exp(2) / (2 + math.exp(2))
    assert value[0].item() == pytest.approx(expected)
    assert 0 < value[1].item() < 0.02
