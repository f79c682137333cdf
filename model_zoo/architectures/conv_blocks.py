"""A convolutional network of blocks with batch normalisation and pooling.

It is usual in courses, for digits and small colour images.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""

WIDTHS = (32, 64, 128)
"""Channels of the blocks."""
HIDDEN = 256


class ConvBlocks(nn.Module):
    """Three blocks of two convolutions, and two linear layers."""

    def __init__(self, num_classes: int, channels: int, side: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*(block(*pair) for pair in pairwise((channels, *WIDTHS))))
        inputs = WIDTHS[-1] * (side // 2 ** len(WIDTHS)) ** 2
        self.classifier = nn.Sequential(
            nn.Dropout(0.3), nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Dropout(0.3), nn.Linear(HIDDEN, num_classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, side, side) normalised images to (N, K) logits."""
        logits: Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits


def block(inputs: int, outputs: int) -> nn.Sequential:
    """Return two convolutions of 3x3 with batch normalisation, and a pooling."""
    layers: list[nn.Module] = []
    for width in (inputs, outputs):
        layers += [nn.Conv2d(width, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.MaxPool2d(2))


def build(num_classes: int, *, channels: int = 3, side: int = 32) -> nn.Module:
    """Build an untrained network of 32, 64 and 128 channels.

    Args:
        num_classes: K, the number of logits.
        channels: channels of the input images.
        side: height and width of the input images, a multiple of 8.
    Returns:
        A module from normalised images to (N, K) logits.
    Raises:
        ValueError: if `side` is no multiple of 8.
    Source:
        SVHNNet of FYS-8805-Collaborative-Coding/Collaborative-Coding-Exam.
        Differs: nothing.
    """
    if side < 8 or side % 8:
        raise ValueError(f"expected a side that is a multiple of 8, got {side}; pad the images")
    return ConvBlocks(num_classes, channels, side)
