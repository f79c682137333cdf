"""The layers with cheap second derivatives against PyTorch's own, in float64."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.autograd.forward_ad as fwAD
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.build import classifier
from model_zoo.derivatives import second_order as module
from model_zoo.derivatives.second_order import only_input_gradients, second_order
from model_zoo.derivatives.surrogate import second_order_copy, smooth_copy
from tests.oracles.plain import plain_smooth
from tests.support.tiny import tiny_network

CONVOLUTIONS = [
    nn.Conv2d(3, 4, 3, padding=1),
    nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),
    nn.Conv2d(3, 6, 1, stride=2),
    nn.Conv2d(3, 4, 3, padding=4),
    nn.Conv2d(3, 4, 5, stride=3, padding=1),
    nn.Conv2d(3, 6, (3, 2), padding=(2, 0), dilation=2, groups=3),
]


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=Rng(seed).generator(), dtype=torch.float64)


def derivatives(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Return first and second derivatives for images and weights.

    They are the logits, their image gradient, a Hessian-vector product, and the weight gradients of a loss of both
    logits and gradient.
    """
    images = images.clone().requires_grad_()
    logits = network(images)
    with only_input_gradients():
        (gradient,) = torch.autograd.grad(logits.square().sum(), images, create_graph=True)
        (product,) = torch.autograd.grad(gradient, images, drawn(*images.shape, seed=2), retain_graph=True)
    parameters = list(network.parameters())
    of_weights = torch.autograd.grad(gradient.pow(3).sum() + logits.sum(), parameters)
    return [found.detach() for found in (logits, gradient, product, *of_weights)]


@pytest.mark.parametrize("way", ["_by_backward_kernels", "_by_forward_kernels"], ids=["as-on-a-cpu", "as-on-a-gpu"])
@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
def test_a_convolution_has_the_derivatives_of_torch(
    layer: nn.Conv2d, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_by_backward_kernels", getattr(module, way))
    plain = copy.deepcopy(layer).double()
    ours = second_order(plain)
    assert ours is not None
    images = drawn(2, 3, 7, 8, seed=0)
    for mine, theirs in zip(
        derivatives(nn.Sequential(ours, nn.Softplus()), images),
        derivatives(nn.Sequential(plain, nn.Softplus()), images),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("affine", [True, False])
def test_a_normalisation_has_the_derivatives_of_torch(affine: bool) -> None:
    plain = nn.BatchNorm2d(3, affine=affine).double()
    plain.train()(drawn(8, 3, 4, 4, seed=1))
    head = nn.Conv2d(3, 2, 3).double()
    ours = second_order(plain)
    assert ours is not None
    for training in (False, True):
        networks = [nn.Sequential(layer, nn.Softplus(), head).train(training) for layer in (ours, plain)]
        for mine, theirs in zip(*(derivatives(n, drawn(4, 3, 5, 5, seed=3)) for n in networks), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("beta", [1.0, 50.0])
def test_softplus_by_hand_has_the_derivatives_of_torch(beta: float) -> None:
    u, g, v = (drawn(4, 5, seed=seed).requires_grad_() for seed in (4, 5, 6))
    u.data[0, 0] = 2 * module.THRESHOLD / beta  # where it is the identity
    found = []
    for function in (module._Softplus.apply, F.softplus):
        value = function(u, beta)
        (slope,) = torch.autograd.grad(value, u, g, create_graph=True)
        curved = torch.autograd.grad(slope, (u, g), v, create_graph=True)
        (third,) = torch.autograd.grad(curved[0].sum(), u)
        found.append((value, slope, *curved, third))
    for mine, theirs in zip(*found, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    with fwAD.dual_level():
        moved = module._Softplus.apply(fwAD.make_dual(u.detach(), v.detach()), beta)
        tangent = fwAD.unpack_dual(moved).tangent
    torch.testing.assert_close(tangent, v * torch.sigmoid(beta * u), rtol=1e-7, atol=1e-8)


def test_whole_copies_have_the_derivatives_of_plain_networks() -> None:
    model = classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)).double().eval()
    images = torch.rand((3, 3, 16, 16), generator=Rng(0).generator(), dtype=torch.float64)
    for ours, plain in ((smooth_copy(model, 3.0), plain_smooth(model, 3.0)), (second_order_copy(model), model)):
        found = derivatives(ours, images)
        assert all(float(f.abs().max()) > 0 for f in found)
        for mine, theirs in zip(found, derivatives(plain, images), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)


def test_weight_gradients_are_left_out_only_where_they_are_not_wanted() -> None:
    layer = second_order(nn.Conv2d(3, 4, 3).double())
    assert layer is not None
    images = drawn(2, 3, 6, 6, seed=0).requires_grad_()
    with only_input_gradients():
        layer(images).square().sum().backward()
    assert images.grad is not None
    assert layer.weight.grad is None
    layer(images).square().sum().backward()
    assert layer.weight.grad is not None


def test_layers_that_it_does_not_know_stay_as_they_are() -> None:
    assert second_order(nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect")) is None
    assert second_order(nn.Conv2d(3, 4, 3, padding="same")) is None
    assert second_order(nn.Linear(3, 4)) is None
