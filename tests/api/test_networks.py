"""Unusual networks get the right numbers, or a flag or a sentence."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import bench
from bench import registry
from bench.core.compute.rng import Rng
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component
from model_zoo.training.initial_weights import initialize
from tests.support.callers import Foreign, strided


class Squashing(Foreign):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).sigmoid()


def test_a_network_behind_a_sigmoid_gets_its_logits_numbers_and_the_record_says_so(short: str) -> None:
    squashed, plain = (
        bench.benchmark(each, protocol=short, mean=0, std=1, device="cpu", limit=2) for each in (Squashing(), Foreign())
    )
    said = {flag.name: flag.detail for flag in squashed.record.flags}
    assert "ends in sigmoid" in said.pop("probabilities")
    assert said.keys() == {flag.name for flag in plain.record.flags}
    assert squashed.rows.drop(columns="answers").equals(plain.rows.drop(columns="answers"))


class Rounding(Foreign):
    """Sees sixteen grey levels: its gradient is zero everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward((16 * x).round() / 16)


def test_a_network_without_gradients_gets_no_numbers_and_a_flag(short: str) -> None:
    found = bench.benchmark(Rounding(), protocol=short, mean=0, std=1, device="cpu", limit=2)
    assert {"vanishing-gradient", "undefined-metric"} <= {flag.name for flag in found.record.flags}
    assert found.rows[["kendall", "topk-intersection"]].isna().all(axis=None)


class Extra(Foreign):
    def get_extra_state(self) -> dict[str, int]:
        return {"note": 1}

    def set_extra_state(self, state: object) -> None:
        pass


def traced() -> nn.Module:
    return torch.jit.trace(Foreign().eval(), torch.zeros(1, 3, 32, 32))


def lazy() -> nn.Module:
    return nn.Sequential(nn.LazyConv2d(4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))


def quantised() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    network[1] = torch.ao.nn.quantized.dynamic.Linear(3072, 10)
    return network


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("make", "message", "remedy"),
    [
        (
            lambda: torch.jit.trace(Foreign().eval(), torch.rand(1, 3, 32, 32)),
            "got TorchScript, .*; hand in the",
            Foreign,
        ),
        (Extra, "got an extra state of Extra; take get_extra_state out", Foreign),
        (lazy, "got the lazy 0; call the module on a batch of images first", lambda: called(lazy())),
        (quantised, "got the quantised 1; hand in the network as it was before", lambda: strided(10)),
    ],
)
def test_what_no_copy_can_be_made_of_is_named_and_the_remedy_helps(
    make: Any, message: str, remedy: Any, short: str
) -> None:
    options: dict[str, Any] = {"protocol": short, "mean": 0, "std": 1, "device": "cpu", "attack": "random-noise"}
    with pytest.raises(UsageError, match=message):
        bench.benchmark(make(), **options)
    assert len(bench.benchmark(remedy(), **options).rows) == 4


def called(network: nn.Module) -> nn.Module:
    network(torch.rand((2, 3, 32, 32), generator=Rng(0).generator()))
    return network


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize(
    "change",
    [
        nn.utils.weight_norm,
        nn.utils.spectral_norm,
        lambda layer: nn.utils.prune.l1_unstructured(layer, "weight", 0.3),
        nn.utils.parametrizations.weight_norm,
    ],
    ids=["weight_norm", "spectral_norm", "prune", "parametrization"],
)
def test_computed_weights_are_those_that_the_network_answers_with(change: Any, short: str) -> None:
    """Measure the weights that a pass computes.

    Old hooks leave a stale weight after `load_state_dict`.
    """
    torch.manual_seed(0)  # noqa: TID251
    network = strided(10)
    change(network[0])  # type: ignore[index]
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    network.load_state_dict(network.state_dict())
    network.eval()
    kind = type(network[0])  # type: ignore[index]
    images = registry.instantiate("datasets", Component(name="foolbox-cifar10")).load("test").images[:2].float() / 255
    expected = network(images).softmax(1).amax(1).tolist()
    found = bench.benchmark(network, protocol=short, mean=0, std=1, device="cpu", limit=2, attack="random-noise")
    assert found.rows["confidence_before"].tolist() == pytest.approx(expected, rel=1e-4)
    assert type(network[0]) is kind  # type: ignore[index]
    assert network(images).softmax(1).amax(1).tolist() == expected, "the caller's network is as it was"


def test_what_a_forward_keeps_of_a_pass_is_no_trouble(short: str) -> None:
    inner = strided(10)
    initialize(inner, Rng(0))

    class Keeping(nn.Module):
        """A network that makes constants and statistics in its passes.

        The constant is made at its first pass, the statistic at every pass.
        """

        def __init__(self) -> None:
            super().__init__()
            self.network = inner
            self.scale: Tensor | None = None
            self.register_buffer("last", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.last = x.detach().mean()
            if self.scale is None:
                self.scale = x.new_ones(1)
            return self.network(x * self.scale)

    options: dict[str, Any] = {"protocol": short, "mean": 0, "std": 1, "device": "cpu", "limit": 2}
    network = Keeping()
    found, plain = (bench.benchmark(each, **options) for each in (network, inner))
    assert found.rows["kendall"].tolist() == plain.rows["kendall"].tolist()
    assert network.scale is None, "the caller's module was never asked"
