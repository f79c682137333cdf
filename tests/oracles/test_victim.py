"""The gradient that attacks follow, against finite differences.

The differences are of the whole loss, including the product-rule term.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from attacks._losses import mass_outside
from attacks.ifia_topk import IfiaTopk
from bench.attributions.gradient import Gradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.core.compute.heatmap import reduce, top_k_mask
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import AttributionMethod
from bench.core.errors import BenchError
from bench.core.schemas.protocol import ThreatModel
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import Explainer
from metrics.kendall import Kendall
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support.tiny import tiny_network

RNG = SampleRng(Rng(0), ("a", "b"))
LABELS = torch.tensor([1, 7])
METHODS = [Gradient(), IntegratedGradients(nodes=5)]


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))).double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, 16, 16), 0.1, 0.9).double()


def victim_of(model: nn.Module, method: AttributionMethod, **changes: Any) -> WhiteBoxVictim:
    given: dict[str, Any] = {
        "model": model,
        "smooth": smooth_copy(model, 3.0) if any(isinstance(m, nn.ReLU) for m in model.modules()) else model,
        "explainer": Explainer(method, "sum-of-abs"),
        "primary": Kendall(),
        "threat": ThreatModel(norm="linf", epsilon="8/255"),
        "knowledge": "white-box",
        "rng": RNG,
    }
    return WhiteBoxVictim(**(given | changes))


@pytest.mark.parametrize("method", METHODS, ids=["gradient", "integrated-gradients"])
def test_the_loss_gradient_is_the_finite_difference_of_the_loss(
    model: nn.Module, images: Tensor, method: AttributionMethod
) -> None:
    victim = victim_of(model, method)
    mask = top_k_mask(victim.observe(images, LABELS).heatmap, 20)
    gradient = victim.loss_gradient(images, LABELS, mass_outside, mask)

    def loss(at: Tensor) -> Tensor:
        attribution = method.attribute(victim.smooth, at, LABELS, rng=RNG)
        return mass_outside(reduce(attribution, "sum-of-abs"), mask)

    direction = RNG.fork("direction").normal(tuple(images.shape[1:])).double()
    h = 1e-6
    difference = (loss(images + h * direction) - loss(images - h * direction)) / (2 * h)
    torch.testing.assert_close((gradient * direction).sum((1, 2, 3)), difference, rtol=1e-4, atol=1e-6)


def test_without_the_product_rule_term_the_finite_difference_would_not_match(model: nn.Module, images: Tensor) -> None:
    """Check that the finite difference finds a missing term.

    The reference code of ART omits it.
    """
    method = IntegratedGradients(nodes=5)
    smooth = smooth_copy(model, 3.0)
    cotangent = RNG.fork("cotangent").normal(tuple(images.shape[1:])).double()
    full = method.pullback(smooth, images, LABELS, cotangent, rng=RNG)
    average = method.attribute(smooth, images, LABELS, rng=RNG) / images
    assert (cotangent * average).norm() > 1e-2 * full.norm()


def test_attacking_the_gradient_map_of_a_linear_model_moves_nothing(images: Tensor) -> None:
    linear = freeze(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))).double()
    victim = victim_of(linear, Gradient())
    before = victim.observe(images, LABELS)
    threat = ThreatModel(norm="linf", epsilon="8/255", keep_prediction=False)
    attacked = IfiaTopk(steps=3, k=20).perturb(victim, images, LABELS, threat=threat, rng=RNG)
    assert torch.equal(victim.observe(attacked, LABELS).heatmap, before.heatmap)


def test_a_changed_prediction_or_an_undefined_value_never_wins(model: nn.Module, images: Tensor) -> None:
    victim = victim_of(model, Gradient())
    before = victim.observe(images, LABELS)
    flipped = type(before)(before.images, -before.logits, before.attribution, before.heatmap)
    assert torch.isinf(victim.similarity(before, flipped)).all()
    constant = type(before)(before.images, before.logits, before.attribution, torch.ones_like(before.heatmap))
    assert torch.isinf(victim.similarity(before, constant)).all()
    assert (victim.similarity(before, before) == 1).all()


def test_looks_are_counted_and_limited(model: nn.Module, images: Tensor) -> None:
    method = IntegratedGradients(nodes=5)
    victim = victim_of(model, method)
    victim.logits(images)
    assert victim.cost == (1, 0)
    victim.observe(images, LABELS)
    assert victim.cost == (2, 5)
    victim.loss_gradient(images, LABELS, lambda heatmap: heatmap.sum((1, 2)))
    assert victim.cost == (2, 15)
    limited = victim_of(model, method, threat=ThreatModel(norm="linf", epsilon="8/255", max_queries=6))
    limited.observe(images, LABELS)
    with pytest.raises(BenchError, match="at most 6 queries"):
        limited.logits(images)


@pytest.mark.parametrize(
    "changes",
    [{"knowledge": "none"}, {"threat": ThreatModel(norm="linf", epsilon="8/255", knowledge="black-box")}],
    ids=["attack-without-knowledge", "black-box-threat"],
)
def test_gradients_are_given_to_white_box_attacks_only(
    model: nn.Module, images: Tensor, changes: dict[str, Any]
) -> None:
    victim = victim_of(model, Gradient(), **changes)
    with pytest.raises(BenchError, match="white-box"):
        victim.loss_gradient(images, LABELS, lambda heatmap: heatmap.sum((1, 2)))
