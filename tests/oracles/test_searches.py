"""The objectives that attacks increase.

Every attack raises its own loss, the published search equals a plain loop, and step rules equal their formulas.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks import _losses, _search
from attacks._losses import mass_outside
from attacks.correlation import Correlation
from attacks.correlation_momentum import CorrelationMomentum
from attacks.cosine import Cosine
from attacks.ifia_mass_center import IfiaMassCenter
from attacks.ifia_target import IfiaTarget, emptiest_corner
from attacks.ifia_topk import IfiaTopk
from attacks.ifia_topk_frugal import IfiaTopkFrugal
from attacks.ifia_topk_momentum import IfiaTopkMomentum
from attacks.lens_topk import LensTopk
from attacks.nes import Nes
from attacks.random_noise import RandomNoise
from attacks.random_walk import RandomWalk
from attacks.target_map import TargetMap, closeness, frame
from bench.attributions.gradient import Gradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.core.compute.heatmap import dilate, top_k_mask
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack, AttributionMethod, Metric, Pair, View
from bench.core.schemas.protocol import ThreatModel
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import Explainer
from metrics.kendall import Kendall
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support.tiny import tiny_network

RNG = SampleRng(Rng(0), ("a", "b"))
LABELS = torch.tensor([1, 7])
SIDE, K = 16, 20
FREE = ThreatModel(norm="linf", epsilon="8/255", keep_prediction=False)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, SIDE, SIDE), 0.1, 0.9)


class OwnLoss(Metric):
    """An attack's negative loss, as the metric by which it selects.

    So the best iterate is the one that it climbed to.
    """

    bounds = (-float("inf"), float("inf"))
    higher_is = "more-robust"

    def __init__(self, loss: Any, target: Any) -> None:
        self.loss, self.target = loss, target

    def __call__(self, pair: Pair) -> Tensor:
        return -self.loss(pair.after.heatmap, self.target(pair.before.heatmap)).double()


def victim_of(model: nn.Module, primary: Metric, knowledge: Any = "white-box", **changes: Any) -> WhiteBoxVictim:
    method: AttributionMethod = changes.pop("method", Gradient())
    smooth = changes.pop("smooth", None) or smooth_copy(model, 20.0)
    return WhiteBoxVictim(
        model=changes.pop("model", model),
        smooth=smooth,
        explainer=Explainer(method, "sum-of-abs"),
        primary=primary,
        threat=FREE,
        knowledge=knowledge,
        rng=RNG.fork("attribution"),
    )


@pytest.mark.parametrize(
    ("turns", "blind", "gradients"), [(1, 0, 4 * 12), (2, 0, 4 * 8), (4, 0, 4 * 6), (9, 0, 4 * 6), (2, 0.5, 24)]
)
def test_the_savings_of_a_frugal_search_are_counted_and_without_them_it_is_the_published_one(
    model: nn.Module, images: Tensor, turns: int, blind: float, gradients: int
) -> None:
    """Count the passes of four steps with four nodes each.

    A gradient costs two passes per node, a look one.
    """
    victim, plain = (victim_of(model, Kendall(), method=IntegratedGradients(nodes=4)) for _ in range(2))
    frugal = IfiaTopkFrugal(steps=4, k=K, turns=turns, blind=blind)
    found = frugal.perturb(victim, images, LABELS, threat=FREE, rng=RNG)
    published = IfiaTopk(steps=4, k=K).perturb(plain, images, LABELS, threat=FREE, rng=RNG)
    assert victim.cost.gradient == gradients + 4, "the clean heatmap is looked at once"
    if turns > 1 or not blind:  # after a blind beginning the best iterate may be the same
        assert torch.equal(found, published) == (turns == 1)


LOSSES: list[tuple[Attack, Any, Any]] = [
    (IfiaTopk(steps=8, k=K), mass_outside, lambda h: top_k_mask(h, K)),
    (IfiaTopkMomentum(steps=8, k=K), mass_outside, lambda h: top_k_mask(h, K)),
    (LensTopk(steps=8, k=5), mass_outside, lambda h: dilate(top_k_mask(h, 5), 1)),
    (IfiaMassCenter(steps=8), _losses.center_distance, _losses.center_of),
    (IfiaTarget(steps=8), _losses.mass_inside, emptiest_corner),
    (Cosine(steps=8), _losses.cosine_distance, lambda h: h),
    (Correlation(steps=8), _losses.correlation_distance, lambda h: h),
    (CorrelationMomentum(steps=8), _losses.correlation_distance, lambda h: h),
    (TargetMap(steps=8), closeness, frame),
]


@pytest.mark.parametrize(("attack", "loss", "target"), LOSSES, ids=[type(a).__name__ for a, _, _ in LOSSES])
def test_an_attack_raises_its_own_loss_above_what_noise_reaches(
    model: nn.Module, images: Tensor, attack: Attack, loss: Any, target: Any
) -> None:
    smooth = smooth_copy(model, 20.0)
    own = OwnLoss(loss, target)

    def reached(attack: Attack) -> Tensor:
        # The smooth network plays the real one, so that search and judge see the same maps.
        victim = victim_of(smooth, own, attack.knowledge, smooth=smooth)
        before = victim.observe(images, LABELS)
        attacked = attack.perturb(victim, images, LABELS, threat=FREE, rng=RNG)
        return -victim.similarity(before, victim.observe(attacked, LABELS))

    assert (reached(attack) > reached(RandomWalk(steps=30, step_size=Fraction("4/255")))).all()


def test_the_black_box_search_climbs_the_map_distance(model: nn.Module, images: Tensor) -> None:
    own = OwnLoss(_losses.cosine_distance, lambda h: h)

    def reached(attack: Attack) -> Tensor:
        victim = victim_of(model, own, attack.knowledge)
        before = victim.observe(images, LABELS)
        attacked = attack.perturb(victim, images, LABELS, threat=FREE, rng=RNG)
        return -victim.similarity(before, victim.observe(attacked, LABELS))

    found = reached(Nes(steps=10, draws=20))
    assert (found > reached(RandomNoise(draws=30))).all()


def test_the_black_box_search_ignores_pairs_that_change_the_class(model: nn.Module, images: Tensor) -> None:
    class NeverKept(WhiteBoxVictim):
        def similarity(self, before: View, after: View) -> Tensor:
            return torch.full((len(after.images),), torch.inf, dtype=torch.float64)

    victim = victim_of(model, Kendall(), "black-box")
    blind = NeverKept(**{name: value for name, value in vars(victim).items() if not name.startswith("_")})
    attacked = Nes(steps=2, draws=2).perturb(blind, images, LABELS, threat=FREE, rng=RNG)
    start = _search.uniform_start(images, FREE, RNG.fork("start", 0))
    assert torch.equal(attacked, start)


@pytest.mark.parametrize("method", [Gradient(), IntegratedGradients(nodes=3)], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("restarts", [1, 2])
def test_the_top_k_attack_is_the_plain_loop_to_the_last_bit(
    model: nn.Module, images: Tensor, method: AttributionMethod, restarts: int
) -> None:
    steps, size, epsilon = 4, 1 / 255, 8 / 255
    threat = ThreatModel(norm="linf", epsilon="8/255")
    labels = model(images).argmax(1)
    victim = victim_of(model, Kendall(), method=method)
    attack = IfiaTopk(steps=steps, step_size=Fraction("1/255"), restarts=restarts, k=K)
    attacked = attack.perturb(victim, images, labels, threat=threat, rng=RNG)

    look = victim_of(model, Kendall(), method=method)
    before = look.observe(images, labels)
    mask = top_k_mask(before.heatmap, K)
    best, lowest = images.clone(), torch.full((2,), torch.inf, dtype=torch.float64)
    low, high = (images - epsilon).clamp(min=0), (images + epsilon).clamp(max=1)
    for restart in range(restarts):
        noise = RNG.fork("start", restart).uniform((3, SIDE, SIDE), -epsilon, epsilon)
        current = (images + noise).clamp(low, high)
        for _ in range(steps):
            gradient = look.loss_gradient(current, labels, mass_outside, mask)
            current = (current + size * gradient.sign()).clamp(low, high)
            similarity = look.similarity(before, look.observe(current, labels))
            for i in range(2):
                if similarity[i] < lowest[i] or torch.isinf(lowest[i]):
                    best[i], lowest[i] = current[i], similarity[i]
    assert torch.equal(attacked, best)
    assert not torch.equal(attacked, images)


def test_turns_are_the_plain_loop_along_the_sum_of_the_last_gradients(model: nn.Module, images: Tensor) -> None:
    labels, turns, size = model(images).argmax(1), 3, 1 / 255
    victim, look = (victim_of(model, Kendall(), method=IntegratedGradients(nodes=7)) for _ in range(2))
    attack = IfiaTopkFrugal(steps=5, step_size=Fraction("1/255"), k=K, turns=turns, blind=0.8)
    attacked = attack.perturb(victim, images, labels, threat=FREE, rng=RNG)
    mask = top_k_mask(look.observe(images, labels).heatmap, K)
    low, high = (images - 8 / 255).clamp(min=0), (images + 8 / 255).clamp(max=1)
    current, gradients = _search.uniform_start(images, FREE, RNG.fork("start", 0)), []
    for number in range(5):
        gradients.append(look.loss_gradient(current, labels, mass_outside, mask, turn=number % turns, turns=turns))
        current = (current + size * torch.stack(gradients[-turns:]).sum(0).sign()).clamp(low, high)
    assert torch.equal(attacked, current), "only the last of the steps is looked at"


def test_without_a_ball_a_search_begins_at_the_image(model: nn.Module, images: Tensor) -> None:
    labels, unbounded = model(images).argmax(1), ThreatModel(norm="linf", epsilon="1")
    victim = victim_of(model, Kendall())
    attacked = IfiaTopk(steps=1, step_size=Fraction("1/255"), k=K).perturb(
        victim, images, labels, threat=unbounded, rng=RNG
    )
    moved = (attacked - images).abs()
    assert 0 < moved.max() <= 1 / 255 + 1e-6


def test_a_rule_is_made_anew_for_each_restart(model: nn.Module, images: Tensor) -> None:
    made: list[int] = []

    def rule() -> _search.StepRule:
        made.append(1)
        return _search.signed_steps(1 / 255)

    victim = victim_of(model, Kendall())
    search = _search.Search(3, 2, rule)
    _search.climb(
        victim, images, LABELS, lambda before: (mass_outside, (top_k_mask(before.heatmap, K),)),
        threat=FREE, rng=RNG, search=search,
    )  # fmt: skip
    assert len(made) == 3
