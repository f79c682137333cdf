"""Networks as their authors hand them to `bench.benchmark`."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.training.initial_weights import initialize


class Foreign(nn.Module):
    """A classifier as others write it.

    It has ReLU as a function, dropout, and one ReLU in two places.
    """

    def __init__(self, num_classes: int = 10, hidden: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, hidden, 3, stride=4)
        self.relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(hidden, num_classes)
        initialize(self, Rng(3))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.relu(self.relu(self.conv(x)) + 0.1) - 0.2)
        return self.head(self.dropout(x).mean((2, 3)))


def strided(num_classes: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(512, num_classes))
