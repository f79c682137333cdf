"""Wide residual networks for 32x32 images."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""


class Add(nn.Module):
    """A sum as a module, so that layer-wise relevance propagation can split relevance between its terms."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum."""
        return a + b


class Block(nn.Module):
    """Pre-activation residual block; each activation is a module of its own, so that it can be swapped or hooked."""

    def __init__(self, inputs: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.act1 = nn.ReLU()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.act2 = nn.ReLU()
        self.dropout = nn.Dropout(dropout) if dropout else None
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False) if inputs != outputs or stride > 1 else None
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = self.act1(self.norm1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        y = self.act2(self.norm2(self.conv1(y)))
        if self.dropout is not None:
            y = self.dropout(y)
        summed: Tensor = self.add(skip, self.conv2(y))
        return summed


class WideResNet(nn.Module):
    """Three stages of pre-activation blocks, global average pooling and one linear layer."""

    def __init__(self, num_classes: int, depth: int, width: int, dropout: float, channels: int) -> None:
        super().__init__()
        blocks, widths = (depth - 4) // 6, [16, 16 * width, 32 * width, 64 * width]
        self.stem = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        layers: list[nn.Module] = []
        for stage, (inputs, outputs) in enumerate(pairwise(widths)):
            for index in range(blocks):
                first = index == 0
                layers.append(Block(inputs if first else outputs, outputs, 2 if first and stage else 1, dropout))
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(widths[3])
        self.act = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(widths[3], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) normalised images to (N, K) logits."""
        features = self.act(self.norm(self.blocks(self.stem(images))))
        logits: Tensor = self.head(torch.flatten(self.pool(features), 1))
        return logits


def build(num_classes: int, *, depth: int = 28, width: int = 10, dropout: float = 0.0, channels: int = 3) -> nn.Module:
    """Build an untrained WRN-`depth`-`width`.

    Args:
        num_classes: K, the number of logits.
        depth: 6 n + 4 layers.
        width: factor on the 16, 32 and 64 channels of the three stages.
        dropout: share of units dropped between a block's two convolutions, while training.
        channels: channels of the input images.
    Returns:
        A module from normalised images to (N, K) logits.
    Raises:
        ValueError: if `depth` is not 6 n + 4.
    Source:
        Zagoruyko, Komodakis 2016, "Wide Residual Networks".
        Differs: one activation module per call site (Captum's DeepLIFT and LRP need it); He initialisation is the
        training loop's.
    """
    if depth < 10 or (depth - 4) % 6:
        raise ValueError(f"expected a depth of the form 6 n + 4 with n >= 1, got {depth}; use 16, 22, 28, 40")
    return WideResNet(num_classes, depth, width, dropout, channels)
