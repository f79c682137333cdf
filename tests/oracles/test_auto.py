"""The attack that takes the worst case within one budget.

Tests its proposals, its cost, and that it keeps the class and stays in the ball.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks._auto_2 import Auto as Auto2
from attacks._search import uniform_start
from attacks._trust import PATIENCE, Ascent, Measure, Trail
from attacks.auto import OBJECTIVES, PORTION, SHARES, Auto
from attacks.auto_long import AutoLong
from bench import registry
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Pair
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.plan import plan
from bench.run.request import Request
from metrics.kendall import Kendall
from metrics.topk_intersection import TopkIntersection
from tests.oracles.searched import IDS, THREAT, Island, clean_images, network, victim


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return clean_images()


def test_it_proposes_the_worst_place_for_each_measure(model: nn.Module, images: Tensor) -> None:
    labels, bound = model(images).argmax(1), victim(model)
    proposals = Auto(budget=62).propose(bound, images, labels, threat=THREAT, rng=SampleRng(Rng(2), IDS))
    before = bound.observe(images, labels)
    pairs = [Pair(before, bound.observe(each, labels), labels) for each in proposals]

    def angle(pair: Pair) -> Tensor:
        return torch.cosine_similarity(pair.before.heatmap.flatten(1), pair.after.heatmap.flatten(1))

    measures: tuple[Callable[[Pair], Tensor], ...] = (Kendall(), TopkIntersection(k=25), angle)
    for place, metric in enumerate(measures):
        values = torch.stack([metric(pair) for pair in pairs])
        assert (values[place] <= values + 1e-6).all(), metric
    assert (proposals - images).abs().max() <= 8 / 255 + 1e-6
    assert Auto().members == tuple(OBJECTIVES) == tuple(SHARES)


@pytest.mark.parametrize("budget", [20, 62])
def test_it_keeps_its_budget_and_spends_most_of_it(model: nn.Module, images: Tensor, budget: int) -> None:
    labels, bound = model(images).argmax(1), victim(model)
    Auto(budget=budget).propose(bound, images, labels, threat=THREAT, rng=SampleRng(Rng(2), IDS))
    assert bound.spent.gradient.max() <= budget
    assert bound.spent.gradient.max() >= 0.7 * budget, "repairs of the class cost less than steps"


def test_neighbours_in_a_batch_change_nothing(model: nn.Module, images: Tensor) -> None:
    labels, rng = model(images).argmax(1), SampleRng(Rng(2), IDS)
    together = Auto(budget=32).propose(victim(model), images, labels, threat=THREAT, rng=rng)
    for i, name in enumerate(IDS):
        part = slice(i, i + 1)
        alone = Auto(budget=32).propose(
            victim(model, rng=SampleRng(Rng(1), (name,))),
            images[part],
            labels[part],
            threat=THREAT,
            rng=rng.select(part),
        )
        assert torch.equal(alone, together[:, part])


def test_it_leaves_less_than_version_2_for_the_same_evaluations(model: nn.Module, images: Tensor) -> None:
    labels, rng = model(images).argmax(1), SampleRng(Rng(2), IDS)
    left = []
    for attack in (Auto(budget=60), Auto2(steps=6)):
        bound = victim(model)
        found = attack.perturb(bound, images, labels, threat=THREAT, rng=rng)
        left.append(Kendall()(Pair(bound.observe(images, labels), bound.observe(found, labels), labels)).mean())
    assert left[0] < left[1]


def test_an_image_that_lost_its_class_finds_back_along_the_margin(images: Tensor) -> None:
    one, labels = images[:1].double(), torch.tensor([0])
    island = Island(one)
    bound = victim(island, smooth=island, rng=SampleRng(Rng(1), IDS[:1]))
    found = Auto(budget=62).perturb(bound, one, labels, threat=THREAT, rng=SampleRng(Rng(2), IDS[:1]))
    before, after = (bound.observe(each, labels) for each in (one, found))
    assert torch.isfinite(bound.similarity(before, after)).all(), "the class is kept"
    assert Kendall()(Pair(before, after, labels)) < 0.9


class _Sealed(Island):
    """The island, whose margin has no gradient."""

    def margin(self, images: Tensor) -> Tensor:
        return super().margin(images).detach()


def test_an_image_whose_margin_has_no_gradient_goes_back_toward_the_clean_one(images: Tensor) -> None:
    one, labels = images[:1].double(), torch.tensor([0])
    sealed = _Sealed(one)
    bound, rng = victim(sealed, smooth=sealed, rng=SampleRng(Rng(1), IDS[:1])), SampleRng(Rng(2), IDS[:1])
    found = Auto(budget=20 + 9 * PATIENCE).perturb(bound, one, labels, threat=THREAT, rng=rng)
    before, after = (bound.observe(each, labels) for each in (one, found))
    assert torch.isfinite(bound.similarity(before, after)).all()


class _Watched(WhiteBoxVictim):
    """Keeps what the search asked, and answers with gradients of its own."""

    answers: Callable[[Tensor], Tensor]
    places: list[Tensor]
    sharp: list[float]

    def loss_gradient(self, images: Tensor, *arguments: Any, sharpness: float = 1.0, **named: Any) -> Tensor:
        self.places.append(images)
        self.sharp.append(sharpness)
        return self.answers(images)

    def only(self, samples: Tensor) -> _Watched:
        bound = super().only(samples)
        assert isinstance(bound, _Watched)
        bound.answers, bound.places, bound.sharp = self.answers, self.places, self.sharp
        return bound


def _steps(model: nn.Module, images: Tensor, answers: Callable[[Tensor], Tensor]) -> _Watched:
    plain = victim(model)
    bound = _Watched(**{f.name: getattr(plain, f.name) for f in dataclasses.fields(plain) if f.init})
    bound.answers, bound.places, bound.sharp = answers, [], []
    labels = model(images).argmax(1)
    trail = Trail(bound, images, labels, {"angle": Measure(lambda before, after: torch.zeros(len(after.images)))})
    Ascent(trail, OBJECTIVES["angle"], images.clone(), THREAT).climb("angle", 8)
    return bound


def test_steps_are_long_where_gradients_agree_and_short_where_they_turn(model: nn.Module, images: Tensor) -> None:
    middle = torch.full_like(images, 0.5)
    generator = Rng(5).generator()
    agreeing = _steps(model, middle, torch.ones_like)
    turning = _steps(model, middle, lambda x: torch.randn(x.shape, generator=generator))
    lengths = [(bound.places[2] - bound.places[1]).abs().max() for bound in (agreeing, turning)]
    assert lengths[0] > 2 * lengths[1]
    assert agreeing.sharp[0] == 0.5
    assert agreeing.sharp[-1] == pytest.approx(8.0)
    assert agreeing.sharp[1] == pytest.approx(0.5 * 16 ** (1 / 7)), "geometric"


def test_an_image_that_is_done_leaves(model: nn.Module, images: Tensor) -> None:
    labels, bound = model(images).argmax(1), victim(model)
    done = torch.tensor([0.0, 2.0, 0.0])

    def value(before: Any, after: Any) -> Tensor:
        same = (before.images[:, None] == images[None]).flatten(2).all(2)
        return (same * done).sum(1)

    trail = Trail(bound, images, labels, {"top": Measure(value, done=1.0)})
    trail.look(torch.arange(3), images)
    spent = bound.spent.gradient.clone()
    Ascent(trail, OBJECTIVES["top"], uniform_start(images, THREAT, SampleRng(Rng(0), IDS)), THREAT).climb("top", 3)
    assert ((bound.spent.gradient - spent) > 0).tolist() == [False, True, False]


def test_steps_that_the_top_does_not_need_go_to_the_order(model: nn.Module, images: Tensor) -> None:
    labels, bound = model(images).argmax(1), victim(model)
    measures = {"ranks": Measure(lambda before, after: -after.heatmap.flatten(1).std(1))}
    trail = Trail(bound, images, labels, measures)
    trail.look(torch.arange(3), uniform_start(images, THREAT, SampleRng(Rng(0), IDS)))
    start, spent = trail.worst["ranks"].similarity.clone(), bound.spent.gradient.clone()
    attack = Auto(budget=62)
    portion = round(attack.steps * PORTION)
    attack.spend(torch.tensor([0, portion, 3 * portion + 1]), trail, THREAT)
    assert (bound.spent.gradient - spent).tolist() == [0, 3 * portion, 9 * portion]
    assert (trail.worst["ranks"].similarity <= start).all()


def test_versions_are_chosen_by_name_or_by_parameters() -> None:
    made = [
        registry.instantiate("attacks", Component(name="auto", **rest))
        for rest in ({}, {"params": {"steps": 20}}, {"version": 2}, {"version": 3, "params": {"budget": 50}})
    ]
    assert [attack.version for attack in made] == [3, 2, 2, 3]
    assert isinstance(made[1], Auto2)
    with pytest.raises(UsageError, match="still here"):
        registry.instantiate("attacks", Component(name="auto", version=1))


@pytest.mark.parametrize(
    ("attack", "params", "version", "found"),
    [
        ("auto", {}, 3, {"budget": 184}),
        ("auto@3", {}, 3, {"budget": 184}),
        ("auto", {"budget": 50}, 3, {"budget": 50}),
        ("auto@2", {"steps": 7}, 2, {"steps": 7}),
    ],
)
def test_an_earlier_version_can_be_asked_for(
    attack: str, params: dict[str, object], version: int, found: dict[str, object]
) -> None:
    request = Request(model="natural-linear", attack=attack, protocol="cifar10-gradient-v2", params=params)
    assert (plan(request).spec.attack.version, plan(request).spec.attack.params) == (version, found)


def test_a_frozen_protocol_keeps_its_version() -> None:
    asked = [
        plan(Request(model="natural-linear", attack=attack, protocol="cifar10-gradient-v1")).spec
        for attack in ("auto", "auto@2", "auto@3")
    ]
    assert [spec.attack.version for spec in asked] == [2, 2, 3]
    assert [spec.on_protocol for spec in asked] == [True, True, False]
    with pytest.raises(UsageError, match="NAME@VERSION"):
        plan(Request(model="natural-linear", attack="auto@two", protocol="cifar10-gradient-v1"))


def test_it_has_no_parameter_but_its_budget() -> None:
    assert [field.name for field in dataclasses.fields(Auto)] == ["budget"]
    assert (Auto().budget, AutoLong().budget) == (200, 2000)
