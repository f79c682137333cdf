"""Activations of foreign networks: found wherever they hide, separated where that can be done, named where not."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.errors import UsageError
from model_zoo.derivatives.call_sites import separate_activations
from model_zoo.derivatives.surrogate import check_activations, smooth_copy


class Foreign(nn.Module):
    """One convolution, and activations in the ways of other libraries."""

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
    with pytest.raises(UsageError, match="separate_activations"):
        check_activations(smooth_copy(network, 5.0), images)
    separate = separate_activations(network)
    check_activations(smooth_copy(separate, 5.0), images)
    assert torch.equal(separate(images), before)
    assert separate.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in separate.state_dict().items())
    relus = [module for module in separate.modules() if isinstance(module, nn.ReLU)]
    assert len(relus) == 2
    assert not any(relu.inplace for relu in relus)


def test_a_separated_network_is_smoothed_everywhere_and_shares_its_weights(images: Tensor) -> None:
    separate = separate_activations(foreign("function"))
    smooth = smooth_copy(separate, 3.0)
    first = F.softplus(separate.block.conv(images), 3.0) - separate.block.shift
    torch.testing.assert_close(smooth(images), F.softplus(first * 1.5, 3.0).flatten(2).mean(2))
    assert smooth.block.conv.weight is separate.block.conv.weight


def test_a_module_that_two_parents_share_is_separated(images: Tensor) -> None:
    blocks = [Foreign("other").eval(), Foreign("other").eval()]
    blocks[1].relu = blocks[0].relu
    for block in blocks:
        block.way = "method"
    both = separate_activations(nn.ModuleList(blocks))
    assert len({id(m) for m in both.modules() if isinstance(m, nn.ReLU)}) == 4


@pytest.mark.parametrize(("way", "operator"), [("other", "relu"), ("clamp", "clamp"), ("hardswish", "hardswish")])
def test_what_cannot_be_separated_is_named(way: str, operator: str, images: Tensor) -> None:
    network = foreign(way)
    before = network(images)
    separate = separate_activations(network)
    assert torch.equal(separate(images), before)
    with pytest.raises(UsageError, match=f"got .*{operator}.* beside them, whose second derivative is zero"):
        check_activations(smooth_copy(separate, 5.0), images)


def test_a_floor_of_a_norm_is_no_activation(images: Tensor) -> None:
    check_activations(smooth_copy(foreign("normalized"), 5.0), images)


@pytest.mark.parametrize("activation", [nn.SiLU, nn.GELU, nn.Softplus, nn.Tanh])
def test_a_smooth_network_is_its_own_smooth_copy(activation: type[nn.Module], images: Tensor) -> None:
    network = nn.Sequential(nn.Conv2d(3, 2, 3), activation(), nn.Flatten())
    smooth = smooth_copy(network, 5.0)
    check_activations(smooth, images)
    torch.testing.assert_close(smooth(images), network(images))


def test_a_kink_that_no_smooth_copy_replaces_is_refused() -> None:
    smooth = smooth_copy(nn.Sequential(nn.Conv2d(3, 2, 3), nn.Hardswish()), 5.0)
    with pytest.raises(UsageError, match="hardswish"):
        check_activations(smooth, torch.rand(1, 3, 8, 8))


def test_every_name_of_a_shared_module_is_smoothed() -> None:
    network = nn.Module()
    network.one = network.two = nn.ReLU()
    smooth = smooth_copy(network, 5.0)
    assert type(smooth.one).__name__ == type(smooth.two).__name__ == "Softplus"
