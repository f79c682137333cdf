"""The contract of every metric.

Other tests compare the values with oracles.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor, nn

from bench import registry
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Annotation, Cues, Metric, Pair, Probe, View
from bench.core.errors import BenchError
from bench.core.schemas.protocol import Component
from bench.run.attack.views import Explainer, JudgeProbe
from bench.run.samples import Library
from model_zoo.build import freeze
from tests.contracts.conftest import residual_classifier
from tests.contracts.parameters import example, parameters

N, SIDE = 4, 16
IDS = tuple("abcd")
NAMES = registry.names("metrics")
BLIND = [name for name in NAMES if not registry.load("metrics", name).reads_maps]
PLACED = [name for name in NAMES if registry.load("metrics", name).needs]
ASKING = [name for name in NAMES if registry.load("metrics", name).asks_model]
ONE_SIDED = [name for name in NAMES if "of" in parameters(registry.load("metrics", name))]
LEFT = (torch.arange(SIDE) < SIDE // 2).expand(SIDE, SIDE)
CUES = Cues(torch.tensor([0, 1, -1, 1]), shape=0, texture=1)
PLACES = (Annotation(torch.tensor([[0, 0, SIDE // 2, SIDE]], dtype=torch.float64), LEFT, CUES),) * N
BUDGETS = ("draws", "steps")
"""Parameters that only say how often the network is asked: tests are short."""


def instance(name: str, **params: Any) -> Metric:
    plugin = registry.load("metrics", name)
    budget = {name: 3 for name in BUDGETS if name in parameters(plugin)}
    made: Metric = registry.instantiate("metrics", Component(name=name, params=example(plugin) | budget | params))
    return made


@pytest.fixture(params=NAMES)
def metric(request: pytest.FixtureRequest) -> Metric:
    return instance(request.param)


@dataclass(frozen=True)
class Judge:
    """A probe with a real network and a real attribution.

    It answers for some of the samples.
    """

    model: nn.Module
    explainer: Explainer
    labels: Tensor

    def view(self, purpose: str) -> View:
        images = SampleRng(Rng(3).fork("tests", purpose), IDS).uniform((3, SIDE, SIDE), 0, 1)
        return self.explainer.view(self.model, images, self.labels, self.rng("attribution"))

    def rng(self, purpose: str) -> SampleRng:
        return SampleRng(Rng(3).fork("tests", purpose), IDS)

    def pair(self, before: View, after: View, rows: slice = slice(None)) -> Pair:
        probe = JudgeProbe(
            self.model,
            self.explainer.method,
            self.labels[rows],
            self.rng("attribution").select(rows),
            self.rng("metrics").select(rows),
            library=Library(IDS, SampleRng(Rng(3).fork("partners"), IDS).uniform((3, SIDE, SIDE), 0, 1), Rng(3)),
        )
        sides = [each(one, lambda t: t[rows]) for one in (before, after)]
        return Pair(sides[0], sides[1], self.labels[rows], None, probe, PLACES[rows])


@pytest.fixture(scope="module")
def judge() -> Judge:
    method = registry.instantiate("attributions", Component(name="gradient"))
    model = freeze(residual_classifier("network"))
    images = SampleRng(Rng(3).fork("tests", "before"), IDS).uniform((3, SIDE, SIDE), 0, 1)
    return Judge(model, Explainer(method, "sum-of-abs"), model(images).argmax(1))


@pytest.fixture
def before(judge: Judge) -> View:
    return judge.view("before")


@pytest.fixture
def after(judge: Judge) -> View:
    return judge.view("after")


def each(one: View, change: Callable[[Tensor], Tensor]) -> View:
    return View(**{field.name: change(getattr(one, field.name)) for field in fields(View)})


def constant(one: View, value: float) -> View:
    return View(
        one.images, one.logits, torch.full_like(one.attribution, value), torch.full_like(one.heatmap, 3 * value)
    )


def identical(first: Tensor, second: Tensor) -> bool:
    """Equal to the last bit, where NaN equals NaN."""
    return torch.equal(first.isnan(), second.isnan()) and torch.equal(first.nan_to_num(9.0), second.nan_to_num(9.0))


class Mute(Probe):
    """What a metric that declares to ask nothing must never ask."""

    def logits(self, images: Tensor) -> NoReturn:
        raise AssertionError("asked for logits")

    def attribute(self, images: Tensor) -> NoReturn:
        raise AssertionError("asked for an attribution")

    def gradient(self, images: Tensor) -> NoReturn:
        raise AssertionError("asked for a gradient")

    def partner_heatmap(self) -> NoReturn:
        raise AssertionError("asked for another image's heatmap")


def test_one_value_per_sample_within_the_bounds(metric: Metric, judge: Judge, before: View, after: View) -> None:
    values = metric(judge.pair(before, after))
    assert values.shape == (N,)
    assert values.dtype == torch.float64
    low, high = metric.bounds
    assert low < high
    assert values.ge(low).all()
    assert values.le(high).all()


def test_nothing_moved_is_the_best_value(metric: Metric, judge: Judge, before: View) -> None:
    values = metric(judge.pair(before, before))
    best = {"more-robust": metric.bounds[1], "less-robust": metric.bounds[0]}.get(metric.higher_is)
    compares = not metric.asks_model and "target" not in parameters(type(metric))
    if best is not None and math.isfinite(best) and compares:
        torch.testing.assert_close(values, torch.full_like(values, best), rtol=0, atol=1e-6)


def test_no_sample_depends_on_its_neighbours(metric: Metric, judge: Judge, before: View, after: View) -> None:
    together = metric(judge.pair(before, after))
    for i in range(N):
        assert torch.equal(metric(judge.pair(before, after, slice(i, i + 1)))[0], together[i])
    assert torch.equal(metric(judge.pair(before, after, slice(1, 3))), together[1:3])


def test_views_are_left_alone_and_no_graph_comes_out(metric: Metric, judge: Judge, before: View, after: View) -> None:
    values = metric(judge.pair(before, after))
    assert not values.requires_grad
    assert all(parameter.grad is None for parameter in judge.model.parameters())
    for one, purpose in ((before, "before"), (after, "after")):
        assert all(torch.equal(getattr(one, f.name), getattr(judge.view(purpose), f.name)) for f in fields(View))
        assert not one.images.requires_grad


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_constant_maps_are_undefined_or_within_the_bounds(
    metric: Metric, judge: Judge, before: View, value: float
) -> None:
    still = constant(before, value)
    for pair in (judge.pair(before, still), judge.pair(still, before), judge.pair(still, still)):
        values = metric(pair)
        low, high = metric.bounds
        assert (values.isnan() | (values.ge(low) & values.le(high))).all()


def test_an_undefined_sample_does_not_spoil_the_others(metric: Metric, judge: Judge, before: View, after: View) -> None:
    expected = metric(judge.pair(before, after))
    mask = torch.zeros(N, dtype=torch.bool).index_fill(0, torch.tensor([1]), True)

    def spoil(one: View) -> View:
        flat = constant(one, 0.0)
        attribution = torch.where(mask.view(-1, 1, 1, 1), flat.attribution, one.attribution)
        return View(one.images, one.logits, attribution, torch.where(mask.view(-1, 1, 1), flat.heatmap, one.heatmap))

    assert torch.equal(metric(judge.pair(spoil(before), spoil(after)))[~mask], expected[~mask])


def test_the_network_is_asked_by_those_alone_who_say_so(
    metric: Metric, judge: Judge, before: View, after: View
) -> None:
    pair = judge.pair(before, after)
    if metric.asks_model:
        with pytest.raises(BenchError, match="expected a pair with a probe"):
            metric(replace(pair, probe=None))
    else:
        assert identical(metric(replace(pair, probe=Mute())), metric(replace(pair, probe=None)))


@pytest.mark.parametrize("name", PLACED)
def test_one_that_needs_annotations_says_so(name: str, judge: Judge, before: View, after: View) -> None:
    pair = judge.pair(before, after)
    assert pair.annotations
    with pytest.raises(
        BenchError, match=r"expected (boxes|mask|cues).* of 4 samples for .*, got 0 annotations; choose"
    ):
        instance(name)(replace(pair, annotations=()))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in PLACED])
def test_the_others_see_no_annotations(name: str, judge: Judge, before: View, after: View) -> None:
    pair = judge.pair(before, after)
    assert identical(instance(name)(pair), instance(name)(replace(pair, annotations=())))


@pytest.mark.parametrize("name", BLIND)
def test_those_that_say_so_read_no_maps(name: str, judge: Judge, before: View, after: View) -> None:
    pair = judge.pair(before, after)
    bare = [replace(v, attribution=v.images[:, :0], heatmap=v.images[:, 0, :0]) for v in (before, after)]
    assert identical(instance(name)(pair), instance(name)(replace(pair, before=bare[0], after=bare[1])))


@pytest.mark.parametrize("name", ASKING)
def test_what_is_drawn_hangs_on_the_probes_streams(name: str, judge: Judge, before: View, after: View) -> None:
    pair = judge.pair(before, after)
    metric = instance(name)
    first, again = metric(pair), metric(judge.pair(before, after))
    assert torch.equal(first, again)
    if "draws" in parameters(type(metric)):
        assert isinstance(pair.probe, JudgeProbe)
        other = replace(pair, probe=replace(pair.probe, rng=pair.probe.rng.fork("other")))
        assert not torch.equal(metric(other), first)


@pytest.mark.parametrize("name", ONE_SIDED)
def test_a_metric_of_one_side_sees_that_side_only(name: str, judge: Judge, before: View, after: View) -> None:
    here, there = instance(name, of="before"), instance(name, of="after")
    if here.needs:
        halves = (mask.double().expand(N, -1, -1) for mask in (LEFT, ~LEFT))
        before, after = (replace(v, heatmap=half) for v, half in zip((before, after), halves, strict=True))
    pair, swapped = judge.pair(before, after), judge.pair(after, before)
    assert instance(name) == here
    assert identical(here(pair), there(swapped))
    assert identical(here(pair), here(judge.pair(before, before)))
    assert not identical(here(pair), there(pair))


@pytest.mark.parametrize("name", ASKING)
def test_the_network_is_shown_images_only(name: str, judge: Judge, before: View) -> None:
    shown: list[Tensor] = []

    class Watching(JudgeProbe):
        def logits(self, images: Tensor) -> Tensor:
            shown.append(images)
            return super().logits(images)

        def attribute(self, images: Tensor) -> Tensor:
            shown.append(images)
            return super().attribute(images)

        def gradient(self, images: Tensor) -> Tensor:
            shown.append(images)
            return super().gradient(images)

    stark = replace(before, images=before.images.round())
    pair = judge.pair(stark, stark)
    instance(name)(replace(pair, probe=Watching(**vars(pair.probe))))
    assert shown
    for images in shown:
        assert images.shape == stark.images.shape
        assert images.dtype == stark.images.dtype
        assert images.ge(0).all()
        assert images.le(1).all()


CLEAN = [name for name in NAMES if instance(name).looks_at_clean_alone]


@pytest.mark.parametrize("name", CLEAN)
def test_what_looks_at_clean_images_alone_is_the_same_under_every_attack(name: str, judge: Judge) -> None:
    before, after = judge.view("before"), judge.view("after")
    values = [instance(name)(judge.pair(before, each)).nan_to_num(-7) for each in (before, after)]
    assert torch.equal(*values)
