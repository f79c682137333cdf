"""The published targeted manipulation and its effect.

The oracle is a plain loop of torch's Adam over double backward.
"""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch import Tensor, nn

from attacks.target_map import closeness
from attacks.target_map_published import TargetMapPublished, _map_of_another
from bench.attributions.gradient import Gradient
from bench.core.compute.heatmap import normalize, reduce
from bench.core.compute.rng import Rng, SampleRng
from bench.core.schemas.protocol import ThreatModel
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import Explainer
from bench.run.samples import Library
from metrics.kendall import Kendall
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support.tiny import tiny_network

RNG = SampleRng(Rng(0), ("a", "b", "c"))
UNBOUNDED = ThreatModel(norm="linf", epsilon="1")
BETA = 20.0


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))).double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, 16, 16), 0.2, 0.8).double()


def victim_of(model: nn.Module, images: Tensor) -> WhiteBoxVictim:
    explainer, smooth = Explainer(Gradient(), "sum-of-abs"), smooth_copy(model, BETA)
    library = Library(RNG.sample_ids, images, RNG.base)
    return WhiteBoxVictim(model, smooth, explainer, Kendall(), UNBOUNDED, "white-box", RNG, library=library)


def map_of(network: nn.Module, image: Tensor, label: Tensor, *, graph: bool = False) -> Tensor:
    leaf = image if image.requires_grad else image.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(network(leaf)[0, label], leaf, create_graph=graph)
    return normalize(reduce(gradient, "sum-of-abs"))


def test_it_is_the_plain_loop(model: nn.Module, images: Tensor) -> None:
    attack = TargetMapPublished(steps=4, learning_rate=Fraction(1, 100), keep=3.0)
    labels, victim = model(images).argmax(1), victim_of(model, images)
    found = attack.perturb(victim, images, labels, threat=UNBOUNDED, rng=RNG)
    for index in range(len(images)):
        other = images[1:2] if index == 0 else images[:1]
        target = map_of(model, other, model(other)[0].argmax())
        clean, label = images[index : index + 1], labels[index]
        current = clean.clone().requires_grad_()
        optimizer = torch.optim.Adam([current], lr=0.01)
        for number in range(4):
            smooth = smooth_copy(model, BETA * 0.2 * 10 ** (number / 4))
            far = (map_of(smooth, current, label, graph=True) - target).square().mean()
            off = (model(current).softmax(1) - model(clean).softmax(1).detach()).square().sum()
            (gradient,) = torch.autograd.grad(far + 3.0 * off, current)
            current.grad = gradient / gradient.abs().mean()
            optimizer.step()
            with torch.no_grad():
                current.clamp_(0, 1)
        torch.testing.assert_close(found[index : index + 1], current.detach())
    assert not torch.equal(found, images)


def test_without_a_ball_it_reaches_the_other_map_and_the_output_term_holds_the_output(
    model: nn.Module, images: Tensor
) -> None:
    labels, victim = model(images).argmax(1), victim_of(model, images)
    before, target = victim.observe(images, labels), _map_of_another(victim, images)
    drift = {}
    for keep in (0.0, 500.0):
        attack = TargetMapPublished(steps=15, learning_rate=Fraction(1, 50), keep=keep)
        after = victim.observe(attack.perturb(victim, images, labels, threat=UNBOUNDED, rng=RNG), labels)
        assert (closeness(after.heatmap, target) > closeness(before.heatmap, target)).all()
        drift[keep] = (after.logits.softmax(1) - before.logits.softmax(1)).square().sum(1)
    assert (drift[500.0] < drift[0.0]).all()


def test_a_smaller_radius_holds(model: nn.Module, images: Tensor) -> None:
    threat = ThreatModel(norm="linf", epsilon="2/255")
    labels, victim = model(images).argmax(1), victim_of(model, images)
    attack = TargetMapPublished(steps=5, learning_rate=Fraction(1, 100))
    moved = (attack.perturb(victim, images, labels, threat=threat, rng=RNG) - images).abs().amax()
    assert moved <= 2 / 255 + 1e-12
