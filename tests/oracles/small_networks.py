"""Small networks with drawn weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.build import classifier, freeze


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=Rng(seed).generator(), dtype=torch.float64)


def trained(network: nn.Module, side: int) -> nn.Module:
    """Return a network in float64, with statistics of some images.

    So scales and shifts are not those of a new layer.
    """
    network = network.double().train()
    for seed in range(3):
        network(drawn(8, 3, side, side, seed=seed))
    return freeze(classifier(network, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))).double()


class Fickle(nn.Module):
    """Its way depends on its values."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.act = nn.BatchNorm2d(3), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.norm(x)) if x.sum() > 0 else self.norm(x)
        return y
