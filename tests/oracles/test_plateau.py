"""The smooth ReLU6 with one exponential against two nested softplus."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.derivatives.plateau import is_separate, plateau
from model_zoo.derivatives.prepare import surrogate
from model_zoo.derivatives.surrogate import Followed, Softplus6
from model_zoo.training.initial_weights import initialize

PLACES = torch.cat([torch.linspace(-2, 8, 401), torch.tensor([-1e3, 0.0, 3.0, 6.0, 1e3])]).double()


def nested(u: Tensor, beta: float) -> Tensor:
    return 6 - F.softplus(6 - F.softplus(u, beta, 700), beta, 700)


def derivatives(activation: nn.Module, u: Tensor) -> list[Tensor]:
    """Return the value and its first and second derivatives."""
    u, upstream = u.clone().requires_grad_(), torch.ones_like(u).requires_grad_()
    value = activation(u)
    (slope,) = torch.autograd.grad(value, u, upstream, create_graph=True)
    curved, through = torch.autograd.grad(slope.sum(), (u, upstream))
    return [found.detach() for found in (value, slope, curved, through)]


class Nested(nn.Module):
    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, u: Tensor) -> Tensor:
        return nested(u, self.beta)


@pytest.mark.parametrize("beta", [8.0, 50.0, 400.0])
def test_value_and_derivatives_are_those_of_two_softplus(beta: float) -> None:
    assert is_separate(beta)
    for mine, theirs in zip(derivatives(Softplus6(beta), PLACES), derivatives(Nested(beta), PLACES), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-7, atol=1e-9)


def test_near_kinks_are_left_to_two_softplus() -> None:
    assert not is_separate(5.0)
    assert not is_separate(torch.tensor(50.0)), "a compiled graph leaves the sharpness open"
    torch.testing.assert_close(Softplus6(1.0)(PLACES), nested(PLACES, 1.0))


def test_small_values_keep_their_digits() -> None:
    u = torch.tensor([-0.2, -0.3])
    torch.testing.assert_close(plateau(u, 50.0).double(), F.softplus(u.double(), 50.0), rtol=1e-4, atol=0)


def test_a_network_with_it_is_not_followed() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    initialize(network, Rng(0).fork("plateau"))
    images = torch.rand(2, 3, 12, 12, generator=Rng(1).generator())
    assert not isinstance(surrogate(network.eval(), 50.0, images), Followed)
