"""Classifiers as everything else sees them: [0, 1] images in, logits out, normalisation inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(x - mean) / std per channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [0, 1] to the same shape, normalised."""
        return (images - self.mean) / self.std


def classifier(network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> nn.Sequential:
    """Put the normalisation in front of a network, so that nobody outside can forget or repeat it."""
    return nn.Sequential(Normalize(mean, std), network)


def freeze(model: nn.Module) -> nn.Module:
    """Return `model` in eval mode with parameters that need no gradient."""
    return model.eval().requires_grad_(False)
