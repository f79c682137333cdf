"""Activations of foreign networks are found anywhere in the network.

They are separated where possible, and named in an error otherwise.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from bench.core.compute.rng import Rng
from model_zoo.derivatives.call_sites import separate_activations
from model_zoo.derivatives.surrogate import smooth_copy


class Foreign(nn.Module):
    """One convolution, and activations in the ways of other libraries."""

    scale: Tensor

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.conv = nn.Conv2d(3, 4, 3)
        self.shift = nn.Parameter(torch.full((1, 4, 1, 1), 0.1))
        self.register_buffer("scale", torch.tensor(1.5))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.conv(x)) - self.shift
        match self.way:
            case "shared":
                return self.relu(x * self.scale)
            case "function":
                return F.relu(x * self.scale, inplace=True)
            case "method":
                return (x * self.scale).relu()
            case "clamp":
                return (x * self.scale).clamp(min=0)
            case "hardswish":
                return F.hardswish(x * self.scale)
            case "normalized":
                return F.normalize(x * self.scale)
        return F.relu(x) if float(x.sum()) > 0 else F.relu(2 * x)


class Tail(nn.Module):
    """A network of one foreign block, pooled."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x).flatten(2).mean(2)


@pytest.fixture
def images() -> Tensor:
    return torch.rand((2, 3, 6, 6), generator=Rng(0).generator())


def foreign(way: str) -> nn.Module:
    return Tail(Foreign(way)).eval().requires_grad_(False)


@pytest.mark.parametrize("way", ["shared", "function", "method"])
def test_hidden_activations_become_modules_of_one_use_and_nothing_else_changes(way: str, images: Tensor) -> None:
    network = foreign(way)
    before, state = network(images), {k: v.clone() for k, v in network.state_dict().items()}
    separate = separate_activations(network)
    assert torch.equal(separate(images), before)
    assert separate.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in separate.state_dict().items())
    relus = [module for module in separate.modules() if isinstance(module, nn.ReLU)]
    assert len(relus) == 2
    assert not any(relu.inplace for relu in relus)


def test_a_separated_network_is_smoothed_everywhere_and_shares_its_weights(images: Tensor) -> None:
    separate = separate_activations(foreign("function"))
    smooth = smooth_copy(separate, 3.0)
    convolved = separate.get_submodule("block.conv")(images)
    first = F.softplus(convolved, 3.0) - separate.get_parameter("block.shift")
    torch.testing.assert_close(smooth(images), F.softplus(first * 1.5, 3.0).flatten(2).mean(2))
    assert smooth.get_parameter("block.conv.weight") is separate.get_parameter("block.conv.weight")


def test_a_module_that_two_parents_share_is_separated(images: Tensor) -> None:
    blocks = [Foreign("other").eval(), Foreign("other").eval()]
    blocks[1].relu = blocks[0].relu
    for block in blocks:
        block.way = "method"
    both = separate_activations(nn.ModuleList(blocks))
    assert len({id(m) for m in both.modules() if isinstance(m, nn.ReLU)}) == 4


def test_what_cannot_be_separated_stays(images: Tensor) -> None:
    network = foreign("other")
    before = network(images)
    assert torch.equal(separate_activations(network)(images), before)


class Apart(nn.Module):
    """A network with a ReLU call after an unusual stem.

    The stem runs under `no_grad`, has a side effect, or has a hook.
    """

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.stem = how, nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                return F.relu(self.stem(x) * x.mean())
        stem = self.stem(x)
        if self.how == "keeps":
            self.last = stem
        return F.relu(stem)


@pytest.mark.parametrize("how", ["no_grad", "keeps", "hook", "plain"])
def test_a_graph_is_made_only_of_what_it_can_hold_and_nothing_of_tracing_is_left(how: str) -> None:
    network = Apart(how)
    if how == "hook":
        network.register_forward_hook(lambda module, inputs, output: output / 2)
    before = dict(vars(network))
    separate = separate_activations(network)
    assert isinstance(separate, fx.GraphModule) == (how == "plain")
    assert vars(network) == before


def test_every_name_of_a_shared_module_is_smoothed() -> None:
    network = nn.Module()
    network.one = network.two = nn.ReLU()
    smooth = smooth_copy(network, 5.0)
    assert type(smooth.one).__name__ == type(smooth.two).__name__ == "Softplus"
