"""What every metric promises, whatever it measures. Their values are checked against oracles elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields

import pytest
import torch
from torch import Tensor

from bench import registry
from bench.core.contracts import Metric, Pair, View
from bench.core.heatmap import reduce
from bench.core.rng import Rng
from tests.contracts.conftest import instance

N, SIDE, CLASSES = 5, 16, 4


@pytest.fixture(params=registry.names("metrics"))
def metric(request: pytest.FixtureRequest) -> Metric:
    made = instance("metrics", request.param)
    assert isinstance(made, Metric)
    return made


def view(purpose: str) -> View:
    generator = Rng(3).fork("tests", purpose).generator()
    attribution = torch.randn((N, 3, SIDE, SIDE), generator=generator)
    images = torch.rand((N, 3, SIDE, SIDE), generator=generator)
    return View(images, torch.randn((N, CLASSES), generator=generator), attribution, reduce(attribution, "sum-of-abs"))


def pair(before: View, after: View) -> Pair:
    return Pair(before, after, before.logits.argmax(1))


def each(one: View, change: Callable[[Tensor], Tensor]) -> View:
    return View(**{field.name: change(getattr(one, field.name)) for field in fields(View)})


def constant(one: View, value: float) -> View:
    return View(
        one.images, one.logits, torch.full_like(one.attribution, value), torch.full_like(one.heatmap, 3 * value)
    )


def test_one_value_per_sample_within_the_bounds(metric: Metric) -> None:
    values = metric(pair(view("before"), view("after")))
    assert values.shape == (N,)
    assert values.is_floating_point()
    low, high = metric.bounds
    assert low < high
    assert values.ge(low).all()
    assert values.le(high).all()


def test_nothing_moved_is_the_best_value(metric: Metric) -> None:
    values = metric(pair(view("before"), view("before")))
    best = {"more-robust": metric.bounds[1], "less-robust": metric.bounds[0]}.get(metric.higher_is)
    if best is not None and math.isfinite(best):
        torch.testing.assert_close(values, torch.full_like(values, best), rtol=0, atol=1e-6)


def test_no_sample_depends_on_its_neighbours(metric: Metric) -> None:
    before, after = view("before"), view("after")
    together = metric(pair(before, after))
    for i in range(N):
        alone = metric(pair(each(before, lambda t, i=i: t[i : i + 1]), each(after, lambda t, i=i: t[i : i + 1])))
        assert torch.equal(alone[0], together[i])


def test_views_are_left_alone_and_no_graph_comes_out(metric: Metric) -> None:
    before, after = view("before"), view("after")
    values = metric(pair(before, after))
    assert not values.requires_grad
    for one, purpose in ((before, "before"), (after, "after")):
        assert all(torch.equal(getattr(one, f.name), getattr(view(purpose), f.name)) for f in fields(View))


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_maps_are_undefined_or_within_the_bounds(metric: Metric, value: float) -> None:
    moving, still = view("before"), constant(view("before"), value)
    for before, after in ((moving, still), (still, moving), (still, still)):
        values = metric(pair(before, after))
        low, high = metric.bounds
        assert (values.isnan() | (values.ge(low) & values.le(high))).all()


def test_an_undefined_sample_does_not_spoil_the_others(metric: Metric) -> None:
    before, after = view("before"), view("after")
    expected = metric(pair(before, after))
    mask = torch.zeros(N, dtype=torch.bool).index_fill(0, torch.tensor([1]), True)

    def spoil(one: View) -> View:
        flat = constant(one, 0.0)
        attribution = torch.where(mask.view(-1, 1, 1, 1), flat.attribution, one.attribution)
        return View(one.images, one.logits, attribution, torch.where(mask.view(-1, 1, 1), flat.heatmap, one.heatmap))

    assert torch.equal(metric(pair(spoil(before), spoil(after)))[~mask], expected[~mask])
