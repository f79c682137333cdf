"""A residual network of two blocks without normalisation.

It is common in work on certified robustness.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model_zoo.architectures.wide_resnet import Add

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""


class Block(nn.Module):
    """Two convolutions with biases and a shortcut.

    The shortcut is a 1x1 convolution where the size changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.shortcut = nn.Sequential(*([nn.Conv2d(inputs, outputs, 1, stride)] if stride > 1 else []))
        self.add = Add()
        self.act2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        summed: Tensor = self.act2(self.add(self.shortcut(x), self.conv2(self.act1(self.conv1(x)))))
        return summed


class ResNet2b(nn.Module):
    """A strided convolution, two blocks of 16 channels and two linear layers."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, 2, 1)
        self.act1 = nn.ReLU()
        self.layer1 = nn.Sequential(Block(8, 16, 2), Block(16, 16, 1))
        self.linear1 = nn.Linear(16 * 8 * 8, 100)
        self.act2 = nn.ReLU()
        self.linear2 = nn.Linear(100, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 32, 32) normalised images to (N, K) logits."""
        features = self.layer1(self.act1(self.conv1(images)))
        logits: Tensor = self.linear2(self.act2(self.linear1(torch.flatten(features, 1))))
        return logits


def build(num_classes: int) -> nn.Module:
    """Build an untrained network for 32x32 images of three channels.

    Args:
        num_classes: K, the number of logits.
    Returns:
        A module from normalised images to (N, K) logits.
    Source:
        ResNet2b of Verified-Intelligence/alpha-beta-CROWN.
        Differs: nothing.
    """
    return ResNet2b(num_classes)
