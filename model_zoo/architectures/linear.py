"""One linear layer on the pixels, a control with fixed gradient maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""


class Linear(nn.Module):
    """A linear layer on the pixels, z = W x + b.

    dz_y/dx is row y of W, whatever the image.
    """

    def __init__(self, num_classes: int, channels: int, side: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels * side * side, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, side, side) normalised images to (N, K) logits."""
        logits: Tensor = self.head(torch.flatten(images, 1))
        return logits


def build(num_classes: int, *, channels: int = 3, side: int = 32) -> nn.Module:
    """Build an untrained linear classifier.

    Args:
        num_classes: K, the number of logits.
        channels: channels of the input images.
        side: height and width of the input images.
    Returns:
        A module from normalised images to (N, K) logits.
    Source:
        Multinomial logistic regression; Adebayo et al. 2018 use a linear model as a sanity check of explanations.
        Differs: nothing.
    """
    return Linear(num_classes, channels, side)
