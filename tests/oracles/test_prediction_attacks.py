"""Attacks on the prediction against closed forms, brute force, and a library's."""

from __future__ import annotations

import sys
from fractions import Fraction
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks._predictions import LOSSES, cross_entropy, margin
from attacks.autoattack import Autoattack
from attacks.fgsm import Fgsm
from attacks.foolbox_pgd import FoolboxPgd
from attacks.generate import Generate
from attacks.pgd import Pgd
from attacks.pgd_lengths import PgdLengths
from attacks.spatial import Spatial, evenly, moved
from attacks.spsa import Spsa
from bench.attributions.gradient import Gradient
from bench.core.compute.norms import l2
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack
from bench.core.errors import BenchError, EnvironmentFault
from bench.core.schemas.protocol import ThreatModel
from bench.run.attack.victim import WhiteBoxVictim
from bench.run.attack.views import Explainer
from bench.run.samples import Library
from metrics.kendall import Kendall
from model_zoo.build import classifier, freeze
from tests.support.tiny import tiny_network

RNG = SampleRng(Rng(0), ("a", "b"))
SIDE = 8
LINF, L2 = (ThreatModel(norm=n, epsilon=e, keep_prediction=False) for n, e in (("linf", "8/255"), ("l2", "1/4")))
LARGE = ThreatModel(norm="linf", epsilon="1", keep_prediction=False)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)))


@pytest.fixture(scope="module")
def linear() -> nn.Module:
    layer = nn.Linear(3 * SIDE * SIDE, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(layer.weight.shape, generator=Rng(5).generator()) / 10)
        layer.bias.zero_()
    return freeze(nn.Sequential(nn.Flatten(), layer))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, SIDE, SIDE), 0.3, 0.7)


def victim_of(model: nn.Module, knowledge: Any = "white-box", threat: ThreatModel = LINF) -> WhiteBoxVictim:
    explainer = Explainer(Gradient(), "sum-of-abs")
    return WhiteBoxVictim(model, model, explainer, Kendall(), threat, knowledge, RNG.fork("attribution"))


def attacked(model: nn.Module, images: Tensor, attack: Attack, threat: ThreatModel) -> tuple[Tensor, Tensor]:
    labels = model(images).argmax(1)
    victim = victim_of(model, attack.knowledge, threat)
    return attack.perturb(victim, images, labels, threat=threat, rng=RNG), labels


@pytest.mark.parametrize("loss", LOSSES)
def test_the_gradient_of_a_prediction_is_autograds_and_counted(model: nn.Module, images: Tensor, loss: str) -> None:
    labels, victim = torch.tensor([1, 7]), victim_of(model)
    leaf = images.clone().requires_grad_()
    (truth,) = torch.autograd.grad(LOSSES[loss](model(leaf), labels).sum(), leaf)
    torch.testing.assert_close(victim.prediction_gradient(images, LOSSES[loss], labels), truth, rtol=1e-4, atol=1e-6)
    assert victim.cost == (0, 1)
    for refused in (
        victim_of(model, "black-box"),
        victim_of(model, threat=LINF.model_copy(update={"knowledge": "none"})),
    ):
        with pytest.raises(BenchError, match="white-box"):
            refused.prediction_gradient(images, cross_entropy, labels)


def test_losses_are_their_formulas() -> None:
    logits, labels = torch.tensor([[3.0, 1.0, 2.5], [0.0, 4.0, 5.0]]), torch.tensor([0, 1])
    assert margin(logits, labels).tolist() == [0.5, -1.0]
    torch.testing.assert_close(cross_entropy(logits, labels), -torch.log_softmax(logits, 1)[[0, 1], labels])


@pytest.mark.parametrize("threat", [LINF, L2], ids=["linf", "l2"])
def test_one_step_is_the_worst_that_a_linear_network_can_meet(
    linear: nn.Module, images: Tensor, threat: ThreatModel
) -> None:
    found, labels = attacked(linear, images, Fgsm(), threat)
    weight = linear.get_parameter("1.weight")
    normal = (weight[labels] - weight[1 - labels]).flatten(1)
    size = normal.abs().sum(1) if threat.norm == "linf" else normal.norm(dim=1)
    expected = margin(linear(images), labels) - float(threat.epsilon) * size
    torch.testing.assert_close(margin(linear(found), labels), expected, rtol=1e-4, atol=1e-5)
    searched, _ = attacked(linear, images, Pgd(steps=60, step_size=Fraction("1/100")), threat)
    clean, reached = (margin(linear(each), labels) for each in (images, searched))
    assert (reached > expected - 1e-4).all()
    assert (clean - reached > 0.95 * (clean - expected)).all()


def test_spsa_finds_the_sign_of_a_linear_networks_gradient(linear: nn.Module, images: Tensor) -> None:
    found, labels = attacked(linear, images, Spsa(steps=12, draws=64), LINF)
    exact, _ = attacked(linear, images, Fgsm(), LINF)
    clean, lowered, lowest = (margin(linear(each), labels) for each in (images, found, exact))
    assert ((clean - lowered) > 0.7 * (clean - lowest)).all()


def test_pgd_is_foolbox_pgd_without_a_random_start(model: nn.Module, images: Tensor) -> None:
    for threat in (LINF, L2):
        theirs, labels = attacked(
            model, images, FoolboxPgd(steps=1, step_size=Fraction("1/255"), random_start=False), threat
        )
        ours, _ = attacked(model, images, Pgd(steps=1, step_size=Fraction("1/255"), random_start=False), threat)
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
        longer = FoolboxPgd(steps=5, step_size=Fraction("2/255"), random_start=False)
        last, _ = attacked(model, images, longer, threat)
        best, _ = attacked(model, images, Pgd(steps=5, step_size=Fraction("2/255"), random_start=False), threat)
        assert (margin(model(best), labels) <= margin(model(last), labels) + 1e-4).all()


def test_libraries_draw_from_each_samples_own_stream_and_leave_the_global_one(model: nn.Module, images: Tensor) -> None:
    state = torch.random.get_rng_state()
    first, _ = attacked(model, images, FoolboxPgd(steps=1), LINF)
    assert torch.equal(torch.random.get_rng_state(), state)
    labels = model(images).argmax(1)
    alone = FoolboxPgd(steps=1).perturb(victim_of(model), images[1:], labels[1:], threat=LINF, rng=RNG.select([1]))
    assert torch.equal(alone, first[1:])


def test_every_look_of_a_library_is_counted(model: nn.Module, images: Tensor) -> None:
    victim, labels = victim_of(model), model(images).argmax(1)
    FoolboxPgd(steps=3).perturb(victim, images[:1], labels[:1], threat=LINF, rng=RNG.select([0]))
    assert victim.cost.gradient == 3
    assert victim.cost.forward >= 3


def test_the_worst_of_the_grid_is_brute_force(model: nn.Module, images: Tensor) -> None:
    attack = Spatial(degrees=20, rotations=3, pixels=1, shifts=3)
    found, labels = attacked(model, images, attack, LARGE)
    grid = product(evenly(20, 3), evenly(1, 3), evenly(1, 3))
    margins = torch.stack([margin(model(moved(images, *place)), labels) for place in grid])
    torch.testing.assert_close(margin(model(found), labels), margins.amin(0), rtol=1e-4, atol=1e-4)
    victim = victim_of(model, "black-box", LARGE)
    attack.perturb(victim, images, labels, threat=LARGE, rng=RNG)
    assert victim.cost == (27, 0)


def test_whole_pixels_and_right_angles_move_exactly(images: Tensor) -> None:
    wide = images[:, :, :6]
    torch.testing.assert_close(moved(wide, 0, 2, 0), F.pad(wide, (0, 0, 2, 0))[:, :, :6], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved(wide, 0, 0, -1), F.pad(wide, (0, 1))[..., 1:], rtol=0, atol=1e-5)
    torch.testing.assert_close(moved(images, 90, 0, 0), images.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved(wide, 180, 0, 0), wide.flip(2, 3), rtol=0, atol=1e-5)
    assert evenly(3, 5) == [-3, -1.5, 0, 1.5, 3]
    assert evenly(3, 1) == [0]


def test_autoattack_names_its_extra_where_it_is_missing(
    model: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(EnvironmentFault, match=r"attribution-bench\[autoattack\]"):
        attacked(model, images, Autoattack(), LINF)


def test_an_l2_step_has_its_length(model: nn.Module, images: Tensor) -> None:
    found, _ = attacked(model, images, Pgd(steps=1, step_size=Fraction("1/10"), random_start=False), L2)
    torch.testing.assert_close(l2(images, found), torch.full((2,), 0.1), rtol=1e-4, atol=1e-6)


def test_pgd_lengths_are_prefixes_of_one_search_and_never_recover(model: nn.Module, images: Tensor) -> None:
    labels = model(images).argmax(1)
    found = PgdLengths(lengths=(1, 3, 9)).propose(victim_of(model), images, labels, threat=LINF, rng=RNG)
    margins = torch.stack([margin(model(each), labels) for each in found])
    short = PgdLengths(lengths=(3,)).propose(victim_of(model), images, labels, threat=LINF, rng=RNG)
    assert torch.equal(found[1], short[0])
    assert margins.diff(dim=0).le(0).all()


def test_pgd_lengths_stops_once_the_class_is_another_one(linear: nn.Module, images: Tensor) -> None:
    labels, victim = linear(images[:1]).argmax(1), victim_of(linear, threat=LARGE)
    found = PgdLengths(lengths=(2, 200), step_size=Fraction("1/10")).propose(
        victim, images[:1], labels, threat=LARGE, rng=RNG.select([0])
    )
    assert margin(linear(found[1]), labels) < 0
    assert victim.cost.gradient < 20


def test_pgd_lengths_leave_finished_images_alone_and_are_those_of_each_image_alone(
    model: nn.Module, images: Tensor
) -> None:
    labels, attack = model(images).argmax(1), PgdLengths(lengths=(1, 40), step_size=Fraction("1/500"))
    victim = victim_of(model, threat=LARGE)
    together = attack.propose(victim, images, labels, threat=LARGE, rng=RNG)
    for i in range(len(images)):
        alone = victim_of(model, threat=LARGE)
        alone.rng = alone.rng.select([i])
        one = slice(i, i + 1)
        found = attack.propose(alone, images[one], labels[one], threat=LARGE, rng=RNG.select([i]))
        assert torch.equal(together[:, one], found)
        assert alone.cost == (victim.spent.forward[i].item(), victim.spent.gradient[i].item())
    assert len(set(victim.spent.gradient.tolist())) > 1, "expected images that end after different numbers of steps"


def test_generate_climbs_the_logit_of_the_class_within_its_radius(model: nn.Module, images: Tensor) -> None:
    labels = torch.tensor([3, 7])
    logits = []
    for steps in (1, 10):
        victim = victim_of(model, threat=LARGE)
        donors = RNG.fork("donors").uniform((3, SIDE, SIDE), 0, 1).repeat(3, 1, 1, 1)
        victim.library = Library(tuple("abcdef"), donors, RNG.base)
        made = Generate(steps=steps, donors=6, radius=Fraction("2"), step_size=Fraction("1/4")).perturb(
            victim, images, labels, threat=LARGE, rng=RNG
        )
        assert made.ge(0).all()
        assert made.le(1).all()
        logits.append(model(made).gather(1, labels.unsqueeze(1)))
    assert (logits[1] > logits[0]).all()
