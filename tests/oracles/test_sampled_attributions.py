"""Gradient attributions with several paths or noise, against oracles.

The oracles are captum and plain loops. Also tests that noise does not change certain values.
"""

from __future__ import annotations

import pytest
import torch
from captum.attr import GradientShap, NoiseTunnel, Saliency
from captum.attr import InputXGradient as CaptumInputXGradient
from torch import Tensor, nn

from bench.attributions._nodes import NodeMethod
from bench.attributions.grad_shap import GradShap
from bench.attributions.gradient import Gradient
from bench.attributions.input_x_gradient import InputXGradient
from bench.attributions.integrated_gradients import IntegratedGradients
from bench.attributions.smoothgrad import Smoothgrad
from bench.core.compute.rng import Rng, SampleRng
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support.tiny import tiny_network

RNG = SampleRng(Rng(0), ("a", "b", "c"))
LABELS = torch.tensor([1, 7, 4])


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))).double()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return RNG.fork("images").uniform((3, 16, 16), 0.0, 1.0).double()


@pytest.fixture(scope="module")
def linear() -> nn.Module:
    return freeze(nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 10))).double()


def gradient_at(model: nn.Module, points: Tensor) -> Tensor:
    return Gradient().attribute(model, points, LABELS, rng=RNG)


def test_input_x_gradient_is_captums(model: nn.Module, images: Tensor) -> None:
    captums = CaptumInputXGradient(model).attribute(images.clone().requires_grad_(), target=LABELS)
    torch.testing.assert_close(InputXGradient().attribute(model, images, LABELS, rng=RNG), captums)


def test_input_x_gradient_is_one_right_riemann_node(model: nn.Module, images: Tensor) -> None:
    one_node = IntegratedGradients(nodes=1, rule="right-riemann").attribute(model, images, LABELS, rng=RNG)
    assert torch.equal(InputXGradient().attribute(model, images, LABELS, rng=RNG), one_node)


def test_smoothgrad_is_the_mean_of_gradients_at_noisy_copies(model: nn.Module, images: Tensor) -> None:
    draws = [RNG.fork("smoothgrad", s).normal((3, 16, 16)).double() for s in range(6)]
    slow = torch.stack([gradient_at(model, images + 0.2 * n) for n in draws]).mean(0)
    torch.testing.assert_close(Smoothgrad(nodes=6, sigma=0.2).attribute(model, images, LABELS, rng=RNG), slow)
    assert torch.stack(draws).std() == pytest.approx(1, abs=0.05)


def test_smoothgrad_is_captums_noise_tunnel_under_the_same_noise(
    model: nn.Module, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    draws = [RNG.fork("smoothgrad", s).normal((3, 16, 16)).double() for s in range(4)]
    noise = torch.stack(draws, 1).flatten(0, 1)
    monkeypatch.setattr(torch, "normal", lambda mean, std: mean + std * noise)
    captums = NoiseTunnel(Saliency(model)).attribute(
        images, nt_type="smoothgrad", nt_samples=4, stdevs=0.2, target=LABELS, abs=False
    )
    torch.testing.assert_close(Smoothgrad(nodes=4, sigma=0.2).attribute(model, images, LABELS, rng=RNG), captums)


def test_smoothgrad_tends_to_the_gradient_and_spreads_with_sigma(model: nn.Module, images: Tensor) -> None:
    plain = gradient_at(model, images)
    away = [
        (Smoothgrad(nodes=4, sigma=sigma).attribute(model, images, LABELS, rng=RNG) - plain).norm()
        for sigma in (1e-9, 0.05, 0.2)
    ]
    assert away[0] < 1e-6 * plain.norm()
    assert away[0] < away[1] < away[2]


@pytest.mark.parametrize(
    "method", [IntegratedGradients(nodes=6), Smoothgrad(nodes=6), GradShap(nodes=6)], ids=lambda m: type(m).__name__
)
def test_nodes_that_take_turns_amount_to_all_of_them(model: nn.Module, images: Tensor, method: NodeMethod) -> None:
    smooth, cotangent = smooth_copy(model, 10.0), torch.randn(images.shape, dtype=torch.float64)
    whole = method.linearize(smooth, images, LABELS, rng=RNG)
    turns = [method.turn(number, 3) for number in range(4)]
    parts = [turn.linearize(smooth, images, LABELS, rng=RNG) for turn in turns]
    assert [turn.nodes_per_image for turn in turns] == [2] * 4
    assert torch.equal(parts[3].attribution, parts[0].attribution), "after the last one it is the first one's turn"
    torch.testing.assert_close(torch.stack([part.attribution for part in parts[:3]]).mean(0), whole.attribution)
    pulled = torch.stack([part.pullback(cotangent) for part in parts[:3]]).mean(0)
    torch.testing.assert_close(pulled, whole.pullback(cotangent))


def test_a_share_of_unequal_nodes_has_the_weight_of_all(linear: nn.Module, images: Tensor) -> None:
    method = IntegratedGradients(nodes=5, rule="gauss-legendre")
    expected = images * linear.get_parameter("1.weight")[LABELS].view_as(images)
    for turn, nodes in ((method.turn(1, 2), 2), (method.turn(7, 9), 1)):
        assert turn.nodes_per_image == nodes
        torch.testing.assert_close(turn.attribute(linear, images, LABELS, rng=RNG), expected)
    one = Gradient()
    assert one.turn(3, 2) is one


def test_noise_belongs_to_the_sample_and_is_the_same_at_every_look(model: nn.Module, images: Tensor) -> None:
    for method in (Smoothgrad(nodes=3), GradShap(nodes=3)):
        first = method.attribute(model, images, LABELS, rng=RNG)
        same_image = images[:1].expand(3, -1, -1, -1)
        others = method.attribute(model, same_image, LABELS[:1].expand(3), rng=RNG)
        assert torch.equal(others[0], first[0])
        assert not torch.equal(others[1], others[0])
        assert not torch.equal(method.attribute(model, images, LABELS, rng=RNG.fork("other")), first)


def test_grad_shap_is_the_mean_over_its_baselines(model: nn.Module, images: Tensor) -> None:
    method = GradShap(nodes=5)
    baselines = method.baselines(images, RNG)
    slow = torch.zeros_like(images)
    for s in range(5):
        rise = images - baselines[:, s]
        slow += rise * gradient_at(model, baselines[:, s] + (s + 0.5) / 5 * rise) / 5
    torch.testing.assert_close(method.attribute(model, images, LABELS, rng=RNG), slow)
    assert baselines.shape == (3, 5, 3, 1, 1)
    assert baselines.ge(0).all()
    assert baselines.le(1).all()


def test_grad_shap_is_what_captums_draws_tend_to(model: nn.Module, images: Tensor) -> None:
    """Compare with captum's mean over random baselines and alphas.

    Captum draws from torch's global generator, which `fork_rng` puts back.
    """
    method, rng = GradShap(nodes=300), RNG.select([0])
    ours = method.attribute(model, images[:1], LABELS[:1], rng=rng)
    baselines = method.baselines(images[:1], rng)[0].expand(-1, -1, 16, 16).contiguous()
    with torch.random.fork_rng():
        captums = GradientShap(model).attribute(
            images[:1], baselines=baselines, n_samples=1500, stdevs=0.0, target=LABELS[:1]
        )
    off = (ours - captums).norm() / captums.norm()
    assert off < 0.15, "what 1500 draws leave"
    assert off < 0.5 * (ours - InputXGradient().attribute(model, images[:1], LABELS[:1], rng=rng)).norm() / ours.norm()


def test_grad_shap_of_a_linear_model_is_weight_times_the_way_from_the_mean_baseline(
    linear: nn.Module, images: Tensor
) -> None:
    method, weight = GradShap(nodes=7), linear.get_parameter("1.weight")[LABELS].view_as(images)
    rise = images - method.baselines(images, RNG).mean(1)
    torch.testing.assert_close(method.attribute(linear, images, LABELS, rng=RNG), rise * weight)
    cotangent = torch.randn(images.shape, generator=Rng(1).generator(), dtype=torch.float64)
    torch.testing.assert_close(method.pullback(linear, images, LABELS, cotangent, rng=RNG), cotangent * weight)


def test_grad_shap_adds_up_to_the_mean_rise_over_baselines(model: nn.Module, images: Tensor) -> None:
    method = GradShap(nodes=400)
    attribution = method.attribute(model, images[:1], LABELS[:1], rng=RNG.select([0]))
    baselines = method.baselines(images[:1], RNG.select([0]))[0].expand(-1, -1, 16, 16)
    with torch.no_grad():
        rises = (model(images[:1]) - model(baselines))[:, LABELS[0]]
    assert attribution.sum() == pytest.approx(rises.mean().item(), abs=4 * rises.std().item() / 400**0.5)
