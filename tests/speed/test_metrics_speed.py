"""How fast the metrics are, beside scipy: `pytest tests/speed --benchmark-enable --benchmark-group-by=group`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from scipy import stats

from bench.core.contracts import Pair, View
from metrics import _ranks
from metrics.cosine import Cosine
from metrics.mass_center_shift import MassCenterShift
from metrics.topk_intersection import TopkIntersection

SIZES = [(1, 1024), (1, 3072), (1000, 1024), (1000, 3072)]
CORRELATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "kendall": (_ranks.kendall_tau_b, stats.kendalltau),
    "spearman": (_ranks.spearman_rho, stats.spearmanr),
}


def maps(count: int, pixels: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(pixels)
    before = torch.rand(count, pixels, generator=draw)
    return before, before + 0.3 * torch.rand(before.shape, generator=draw)


@pytest.mark.parametrize(("count", "pixels"), SIZES)
@pytest.mark.parametrize("name", CORRELATIONS)
def test_ours(benchmark: Any, name: str, count: int, pixels: int) -> None:
    benchmark.group = f"{name}: {count} x {pixels}"
    values = benchmark(CORRELATIONS[name][0], *maps(count, pixels))
    assert values.isfinite().all()


@pytest.mark.parametrize(("count", "pixels"), SIZES)
@pytest.mark.parametrize("name", CORRELATIONS)
def test_scipy(benchmark: Any, name: str, count: int, pixels: int) -> None:
    benchmark.group = f"{name}: {count} x {pixels}"
    before, after = (side.numpy() for side in maps(count, pixels))
    oracle = CORRELATIONS[name][1]
    values = benchmark(lambda: [oracle(a, b).statistic for a, b in zip(before, after, strict=True)])
    assert len(values) == count


@pytest.mark.parametrize("metric", [TopkIntersection(), MassCenterShift(), Cosine()], ids=lambda m: type(m).__name__)
def test_other_metrics(benchmark: Any, metric: Any) -> None:
    benchmark.group = "1000 images of (3, 32, 32)"
    attributions = [side.view(1000, 3, 32, 32) for side in maps(1000, 3072)]
    before, after = [View(a, torch.zeros(1000, 10), a, a.abs().sum(1)) for a in attributions]
    values = benchmark(metric, Pair(before, after, torch.zeros(1000)))
    assert values.isfinite().all()
