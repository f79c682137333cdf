"""The attack suite against its members, loops and published schedules.

The suite is compared with its members, its selection with a loop, and its adaptive step with the published schedule.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from attacks._adaptive import Goal, adaptive_ascent, by_loss, by_primary, checkpoints
from attacks._auto_2 import SUITE, Auto
from attacks._losses import order, rank_distance
from bench.attributions.gradient import Gradient
from bench.core.compute.norms import linf
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Metric, Pair, View
from bench.run.attack.search import attack_shard
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import Explainer
from bench.run.judge.measure import measure_shard, worst
from bench.run.samples import Samples
from bench.run.setup import Setup
from metrics.cosine import Cosine
from metrics.entropy import Entropy
from metrics.kendall import Kendall
from metrics.l2_distance import L2Distance
from metrics.topk_intersection import TopkIntersection
from model_zoo.derivatives.surrogate import smooth_copy
from tests.oracles.searched import IDS, THREAT, Island, clean_images, network, victim

METRICS: dict[str, Metric] = {
    "kendall": Kendall(),
    "topk-intersection": TopkIntersection(k=20),
    "l2-distance": L2Distance(),
    "entropy": Entropy(),
}


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return network()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return clean_images()


def test_it_is_at_most_every_member_for_every_sample_and_metric(model: nn.Module, images: Tensor) -> None:
    labels, rng = model(images).argmax(1), SampleRng(Rng(2), IDS)
    proposals = Auto(steps=4).propose(victim(model), images, labels, threat=THREAT, rng=rng)
    before = victim(model).observe(images, labels)
    pairs = [Pair(before, victim(model).observe(each, labels), labels) for each in proposals]
    verdict = worst(pairs, METRICS, "kendall")
    for name, goal in SUITE.items():
        alone = adaptive_ascent(victim(model), images, labels, goal, threat=THREAT, rng=rng.fork(name), steps=4)
        pair = Pair(before, victim(model).observe(alone, labels), labels)
        assert verdict.values["kendall"].le(Kendall()(pair)).all()
        assert verdict.values["topk-intersection"].le(TopkIntersection(k=20)(pair)).all()
        assert verdict.values["l2-distance"].ge(L2Distance()(pair)).all()
    merged = Auto(steps=4).perturb(victim(model), images, labels, threat=THREAT, rng=rng)
    assert torch.equal(merged, verdict.pair.after.images)


def test_its_rows_name_winners_and_cost(model: nn.Module, images: Tensor) -> None:
    labels = model(images).argmax(1)
    explainer = Explainer(Gradient(), "sum-of-abs")
    setup = Setup(
        model=model,
        smooth=smooth_copy(model, 20.0),
        attack=Auto(steps=3),
        threat=THREAT,
        search=explainer,
        judge=explainer,
        metrics=METRICS,
        primary="kendall",
        explain_predicted=True,
        rng=Rng(0),
        device=torch.device("cpu"),
        top_k=20,
    )
    samples = Samples(IDS, images, labels)
    attacked = attack_shard(setup, samples, 2, lambda _: None)
    rows = measure_shard(setup, samples, attacked, frozenset({"a"}))
    assert attacked.images.shape == (3, 3, 3, 16, 16)
    assert set(rows["winner"]) <= set(SUITE)
    # Per member: the clean image, the start, and two gradients and a look per step.
    assert set(rows["gradient_evaluations"]) == {3 * (1 + 1 + 3 * 3)}
    assert (rows["linf"] <= 8 / 255 + 1e-6).all()
    singly = measure_shard(setup, samples, attack_shard(setup, samples, 1, lambda _: None), frozenset())
    assert rows.drop(columns="tiles").equals(singly.drop(columns="tiles"))


def test_a_verdict_is_what_a_loop_finds() -> None:
    generator = Rng(3).generator()

    def view() -> View:
        attribution = torch.randn((6, 1, 5, 5), generator=generator)
        heatmap = attribution.abs().sum(1)
        return View(torch.rand((6, 3, 5, 5), generator=generator), torch.zeros(6, 2), attribution, heatmap)

    before, labels = view(), torch.zeros(6, dtype=torch.int64)
    afters = [view() for _ in range(3)]
    afters[1].heatmap[2] = 1.0  # a constant map: kendall is undefined
    pairs = [Pair(before, after, labels) for after in afters]
    verdict = worst(pairs, METRICS | {"topk-intersection": TopkIntersection(k=5)}, "kendall")
    found = np.stack([Kendall()(pair).numpy() for pair in pairs])
    assert np.isnan(found[1, 2])
    assert verdict.winner.tolist() == np.nanargmin(found, 0).tolist()
    np.testing.assert_array_equal(verdict.values["kendall"].numpy(), np.nanmin(found, 0))
    farthest = np.stack([L2Distance()(pair).numpy() for pair in pairs]).max(0)
    np.testing.assert_array_equal(verdict.values["l2-distance"].numpy(), farthest)
    for i, w in enumerate(verdict.winner.tolist()):
        assert torch.equal(verdict.pair.after.images[i], afters[w].images[i])
        assert verdict.values["entropy"][i] == Entropy()(pairs[w])[i]


def test_checkpoints_are_those_of_apgd() -> None:
    assert list(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert list(checkpoints(1)) == []
    assert all(a < b for a, b in zip(list(checkpoints(20)), list(checkpoints(20))[1:], strict=False))


def test_it_has_no_parameter_but_its_length() -> None:
    assert [field.name for field in dataclasses.fields(Auto)] == ["steps"]


def test_the_rank_distance_is_the_correlation_of_logarithms_with_ranks() -> None:
    heatmap = torch.rand((3, 4, 5), generator=Rng(0).generator(), dtype=torch.float64)
    clean = torch.rand((3, 4, 5), generator=Rng(1).generator(), dtype=torch.float64)
    distances = rank_distance(heatmap, order(clean))
    for i in range(3):
        logarithm = np.log(heatmap[i].numpy() / heatmap[i].numpy().mean() + 0.01).ravel()
        ranks = scipy.stats.rankdata(clean[i].numpy().ravel())
        np.testing.assert_allclose(float(distances[i]), 1 - scipy.stats.pearsonr(logarithm, ranks).statistic)


def test_a_sharper_surrogate_is_used_late_and_left_as_it_was(model: nn.Module, images: Tensor) -> None:
    labels, seen = model(images).argmax(1), []

    class Watched(WhiteBoxVictim):
        def loss_gradient(self, *arguments: Any, sharpness: float = 1.0, **named: Any) -> Tensor:
            seen.append(sharpness)
            return super().loss_gradient(*arguments, sharpness=sharpness, **named)

    smooth = smooth_copy(model, 20.0)
    plain = victim(model, smooth=smooth)
    watched = Watched(**{f.name: getattr(plain, f.name) for f in dataclasses.fields(plain) if f.init})
    before = smooth(images)
    adaptive_ascent(watched, images, labels, SUITE["angle"], threat=THREAT, rng=SampleRng(Rng(0), IDS), steps=6)
    assert seen == [0.5, 0.5, 1.0, 1.0, 2.0, 2.0]
    assert torch.equal(smooth(images), before)
    loss, targets = SUITE["angle"].objective(plain.observe(images, labels))
    gradients = [plain.loss_gradient(images * 0.9, labels, loss, *targets, sharpness=s) for s in (1.0, 2.0)]
    sharper = victim(model, smooth=smooth_copy(model, 40.0)).loss_gradient(images * 0.9, labels, loss, *targets)
    torch.testing.assert_close(gradients[1], sharper)
    assert not torch.allclose(gradients[0], gradients[1])


def test_steps_are_halved_where_nothing_improves(model: nn.Module, images: Tensor) -> None:
    """Check the steps for a score that never improves.

    After the start every checkpoint halves the step, and the start is kept.
    """
    labels, sizes = model(images).argmax(1), []

    class Still(WhiteBoxVictim):
        def loss_gradient(self, images: Tensor, *arguments: Any, **named: Any) -> Tensor:
            sizes.append(images)
            return torch.ones_like(images)

    looks = []

    def score(victim: Any, before: View) -> Any:
        def of(after: View) -> Tensor:
            looks.append(after.images)
            return torch.full((len(after.images),), 1.0 if len(looks) > 1 else 0.0)

        return of

    plain = victim(model)
    still = Still(**{f.name: getattr(plain, f.name) for f in dataclasses.fields(plain) if f.init})
    best = adaptive_ascent(
        still,
        images,
        labels,
        Goal(SUITE["angle"].objective, score),
        threat=THREAT,
        rng=SampleRng(Rng(0), IDS),
        steps=20,
    )
    start = looks[0]
    assert torch.equal(best, start)
    again = [number for number in range(1, 20) if torch.equal(sizes[number], start)]
    assert again == list(checkpoints(20)), "after each checkpoint the search goes back to the best iterate"
    first, later = (linf(start, sizes[number + 1]) for number in (0, again[-2]))
    assert (later < first / 4).all()


def test_an_image_whose_class_no_iterate_keeps_is_searched_from_within(images: Tensor) -> None:
    one, labels = images[:1].double(), torch.tensor([0])
    island = Island(one)
    rng = SampleRng(Rng(1), IDS[:1])
    bound = victim(island, smooth=island, rng=rng)
    for goal in SUITE.values():
        found = adaptive_ascent(bound, one, labels, goal, threat=THREAT, rng=rng, steps=20)
        before, after = (bound.observe(each, labels) for each in (one, found))
        assert torch.isfinite(bound.similarity(before, after)).all(), "the class is kept"
        assert Kendall()(Pair(before, after, labels)) < 0.9


def test_goals_pick_by_the_primary_metric_or_by_their_loss(model: nn.Module, images: Tensor) -> None:
    labels, bound = model(images).argmax(1), victim(model)
    before, after = bound.observe(images, labels), bound.observe((images + 0.02).clamp(0, 1), labels)
    assert torch.equal(by_primary(bound, before)(after), bound.similarity(before, after))
    goal = SUITE["angle"]
    counts = torch.isfinite(bound.similarity(before, after))
    found = by_loss(goal.objective)(bound, before)(after)
    cosine = (before.heatmap * after.heatmap).flatten(1).sum(1) / (
        before.heatmap.flatten(1).norm(dim=1) * after.heatmap.flatten(1).norm(dim=1)
    )
    torch.testing.assert_close(found[counts], (cosine - 1).double()[counts], atol=1e-5, rtol=1e-5)
    assert torch.isinf(found[~counts]).all()
    assert Cosine().higher_is == "more-robust"
