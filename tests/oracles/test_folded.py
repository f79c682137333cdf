"""Networks folded for the searches of a training.

They equal the plain network in eval mode in value and image gradient.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.architectures.wide_resnet import build
from model_zoo.build import classifier
from model_zoo.training.folded import AffineRelu, FoldedConvolution, folded
from model_zoo.training.initial_weights import initialize
from model_zoo.training.modes import evaluating
from tests.oracles.small_networks import drawn
from tests.support.trainings import random_split

LABELS = torch.arange(12) % 10


class Biased(nn.Module):
    """A network with three kinds of normalisation.

    One follows a convolution with a bias, one has no ReLU behind it, one has an input with two readers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 1, 1, groups=2)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.act, self.head = nn.ReLU(), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 10)."""
        y = self.norms[0](self.first(x))
        z = self.second(y)
        z = self.norms[1](z) + self.norms[2](y) * self.act(z)
        logits: Tensor = self.head(z.mean((2, 3)))
        return logits


class Wayward(nn.Module):
    """A network that cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build(10, depth=10, width=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 10)."""
        if x.amax() > 99:
            return torch.zeros(len(x), 10)
        logits: Tensor = self.inner(x)
        return logits


def trained(network: nn.Module) -> nn.Module:
    """Return a network in train mode, unlike a new one.

    Its scales have both signs.
    """
    initialize(network, Rng(0))
    for index, layer in enumerate(m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        with torch.no_grad():
            layer.weight.copy_(drawn(layer.num_features, seed=index) + 0.5)
            layer.bias.copy_(drawn(layer.num_features, seed=100 + index))
    for seed in range(3):
        network(drawn(8, 3, 16, 16, seed=seed).float())
    return classifier(network, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))


def gradient(model: nn.Module, images: Tensor, *, bfloat16: bool = False) -> tuple[Tensor, Tensor]:
    """Logits, and the gradient of the cross-entropy."""
    leaf = images.clone().requires_grad_()
    with evaluating(model), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits = model(leaf)
    (found,) = torch.autograd.grad(F.cross_entropy(logits.to(images.dtype), LABELS, reduction="sum"), leaf)
    return logits.detach(), found


def images_of(dtype: torch.dtype) -> Tensor:
    return (random_split(12, side=16).images.to(dtype) / 255).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("network", [build(10, depth=16, width=2), Biased(), Wayward()], ids=lambda n: type(n).__name__)
def test_a_folded_network_is_the_plain_one_in_eval_mode_while_it_trains(network: nn.Module) -> None:
    model = trained(network).double()
    ours, images = folded(model), images_of(torch.float64)
    for _ in range(2):
        for mine, plain in zip(gradient(ours, images), gradient(model, images), strict=True):
            assert plain.abs().max() > 0
            torch.testing.assert_close(mine, plain)
        assert all(m.training for m in model.modules()), "every mode is as it was"
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
        model(images)
    assert not any(p.grad is not None for p in model.parameters())


def test_every_normalisation_of_a_wide_network_is_folded() -> None:
    ours = folded(trained(build(10, depth=28, width=1)))
    kinds = [type(module) for module in ours.modules()]
    assert kinds.count(FoldedConvolution) == 12, "the first convolution of each block"
    assert kinds.count(AffineRelu) == 13, "the first normalisation of each block, and the last"


def test_in_bfloat16_it_errs_as_little_as_the_plain_one() -> None:
    model, images = trained(build(10, depth=16, width=1)), images_of(torch.float32)
    truth = gradient(model, images)[1]
    errors = [(gradient(m, images, bfloat16=True)[1] - truth).norm() / truth.norm() for m in (folded(model), model)]
    assert 0 < errors[0] < 1.3 * errors[1]
    assert errors[1] < 0.15
