"""Networks with hidden kinks are recognised by their numbers alone.

Honest networks, smooth ones and networks with pooling are accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from attacks.auto import Auto
from bench.attributions.gradient import Gradient
from bench.core.compute.rng import Rng
from bench.core.schemas.protocol import ThreatModel
from bench.run.attack.search import attack_shard
from bench.run.judge.clean import look
from bench.run.judge.measure import measure_shard
from model_zoo.build import freeze
from model_zoo.derivatives.curvature import explained
from model_zoo.derivatives.differenced import Differenced
from model_zoo.derivatives.prepare import attackable
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support import broken
from tests.support.trials import COUNT, NOISE, Trial, images_of

THREAT, BETA = ThreatModel(norm="linf", epsilon="8/255"), 200.0


class _Detached(torch.autograd.Function):
    """A ReLU whose backward pass torch cannot differentiate to any purpose."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.mask = inputs > 0
        return inputs * ctx.mask

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> Tensor:
        return upstream[0] * ctx.mask


WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "maximum": lambda u: torch.maximum(u, torch.zeros_like(u)),
    "where": lambda u: torch.where(u > 0, u, 0.0),
    "abs": lambda u: (u + u.abs()) / 2,
    "product": lambda u: u * (u > 0),
    "own backward": _Detached.apply,
    "at random": lambda u: F.dropout(u.relu(), 0.5, training=True),
}


class _Spelled(nn.Module):
    """An activation without a name."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs)


class _Rounded(nn.Module):
    """A network that rounds images to 32 grey levels, secretly.

    It returns the gradient as if it did not.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images + ((8 * images).round() / 8 - images).detach())


def with_activation(make: Callable[[], nn.Module]) -> nn.Module:
    return freeze(nn.Sequential(*(make() if isinstance(layer, nn.ReLU) else layer for layer in broken.sound())))


def with_max_pooling() -> nn.Module:
    network = broken.sound()
    network[4] = nn.MaxPool2d(4)
    return freeze(network)


def flags(network: nn.Module) -> set[str]:
    return Trial(network, method=Gradient()).flags()


@pytest.mark.parametrize("way", WAYS)
def test_a_network_that_hides_its_kinks_is_found(way: str) -> None:
    assert "hidden-curvature" in flags(with_activation(lambda: _Spelled(WAYS[way])))


def test_a_network_that_rounds_its_images_is_found() -> None:
    assert "hidden-curvature" in flags(_Rounded(broken.sound()))


@pytest.mark.parametrize(
    "network",
    [broken.sound, with_max_pooling, lambda: with_activation(nn.GELU), lambda: with_activation(nn.Tanh)],
    ids=["relu", "max-pooling", "gelu", "tanh"],
)
def test_a_network_that_hides_nothing_is_not(network: Callable[[], nn.Module]) -> None:
    assert "hidden-curvature" not in flags(network())


def kendalls(network: nn.Module, smooth: nn.Module) -> Tensor:
    """(N,): what a short search leaves of the order of pixels."""
    setup = replace(Trial(network, attack=Auto(budget=62), method=Gradient()).setup, smooth=smooth)
    samples = images_of(network)
    rows = measure_shard(setup, samples, attack_shard(setup, samples, COUNT, lambda _: None), frozenset())
    return torch.tensor(rows["kendall"].to_list())


@pytest.fixture(scope="module")
def honest() -> float:
    network = freeze(broken.sound())
    return float(kendalls(network, smooth_copy(network, BETA)).mean())


@pytest.mark.parametrize("way", [*WAYS, "rounded images"])
def test_hiding_pays_for_nobody(way: str, honest: float) -> None:
    hiding = _Rounded(broken.sound()) if way == "rounded images" else with_activation(lambda: _Spelled(WAYS[way]))
    smooth = attackable(hiding, BETA, images_of(hiding).images, THREAT)
    found = float(kendalls(hiding, smooth).mean())
    if not isinstance(smooth, Differenced):
        assert found <= honest + 0.03, "unflagged, it scores no better than its honest twin"
        return
    setup = replace(Trial(hiding, method=Gradient()).setup, smooth=smooth)
    assert (look(setup, images_of(hiding)).flags["curvature_foretold"] == 0).all(), "the flag is raised"
    assert found <= honest + 0.06, "differences see what the network hides"
    if way == "own backward":
        assert found < float(kendalls(hiding, smooth_copy(hiding, BETA)).mean()) - 0.1, "its surrogate does not"


def test_no_curvature_is_nothing_hidden() -> None:
    trial = Trial(broken.with_linear_map(), method=Gradient())
    assert look(trial.setup, images_of(trial.network)).flags["curvature_foretold"].tolist() == pytest.approx(
        [float("nan")] * COUNT, nan_ok=True
    )
    assert "hidden-curvature" not in trial.flags()


def test_an_attack_without_gradients_is_not_deceived() -> None:
    network = with_activation(lambda: _Spelled(WAYS["where"]))
    assert "hidden-curvature" not in Trial(network, attack=NOISE, method=Gradient()).flags()


def test_neighbours_change_nothing_of_what_is_found() -> None:
    trial = Trial(broken.sound(), method=Gradient())
    samples = images_of(trial.network)
    together = look(trial.setup, samples).flags["curvature_foretold"]
    alone = [look(trial.setup, samples.part(slice(i, i + 1))).flags["curvature_foretold"][0] for i in range(COUNT)]
    assert together.tolist() == alone


def test_the_share_is_one_for_a_polynomial_and_zero_for_a_blind_surrogate() -> None:
    class Cubic(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([images.pow(3).flatten(1).sum(1), images.flatten(1).sum(1)], 1)

    class Linear(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return torch.stack([images.flatten(1).sum(1), images.flatten(1).sum(1)], 1)

    images, labels = torch.rand((3, 1, 4, 4), generator=Rng(0).generator()).double(), torch.zeros(3, dtype=torch.int64)
    directions = torch.randn((3, 1, 4, 4), generator=Rng(1).generator()).double()
    torch.testing.assert_close(explained(Cubic(), Cubic(), images, labels, directions), torch.ones(3).double())
    assert torch.equal(explained(Cubic(), Linear(), images, labels, directions), torch.zeros(3).double())
    assert explained(Linear(), Cubic(), images, labels, directions).isnan().all()
