"""EfficientNet-Lite: inverted bottlenecks with ReLU6, without squeeze and excitation."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional as F

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
"""Blocks, kernel, stride of the first block, expansion and outputs of a stage, before scaling."""
STEM, HEAD, DIVISOR = 32, 1280, 8


class SamePadding(nn.Module):
    """Zeros around an image, as TensorFlow's "SAME" adds them before a convolution.

    Of an odd padding, the larger part is at the right and at the lower edge.
    """

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) to images with the missing rows and columns."""
        down, across = (self._missing(side) for side in images.shape[2:])
        return F.pad(images, (across // 2, across - across // 2, down // 2, down - down // 2))

    def _missing(self, side: int) -> int:
        return max((math.ceil(side / self.stride) - 1) * self.stride + self.kernel - side, 0)


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Return a convolution without bias.

    It needs `SamePadding` before it if it strides.
    """
    padding = (kernel - 1) // 2 if stride == 1 else 0
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)


class Add(nn.Module):
    """A sum as a module.

    Layer-wise relevance propagation can then split relevance between its terms.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum."""
        return a + b


class Inverted(nn.Module):
    """A bottleneck that expands, filters each channel and projects.

    Every activation is its own module.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        if expansion > 1:
            self._expand_conv = convolution(inputs, width, 1)
            self._bn0 = nn.BatchNorm2d(width, eps=1e-3)
            self.act0 = nn.ReLU6()
        self.pad = SamePadding(kernel, stride) if stride > 1 else nn.Identity()
        self._depthwise_conv = convolution(width, width, kernel, stride, width)
        self._bn1 = nn.BatchNorm2d(width, eps=1e-3)
        self.act1 = nn.ReLU6()
        self._project_conv = convolution(width, outputs, 1)
        self._bn2 = nn.BatchNorm2d(outputs, eps=1e-3)
        self.expands = expansion > 1
        self.add = Add() if stride == 1 and inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        y = self.act0(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self.act1(self._bn1(self._depthwise_conv(self.pad(y))))
        projected: Tensor = self._bn2(self._project_conv(y))
        summed: Tensor = projected if self.add is None else self.add(x, projected)
        return summed


class EfficientNetLite(nn.Module):
    """Seven stages of inverted bottlenecks between stem and head."""

    def __init__(self, num_classes: int, width: float, depth: float) -> None:
        super().__init__()
        self.pad = SamePadding(3, 2)
        self._conv_stem = convolution(3, STEM, 3, 2)
        self._bn0 = nn.BatchNorm2d(STEM, eps=1e-3)
        self.act0 = nn.ReLU6()
        self._blocks, inputs = nn.ModuleList(), STEM
        for index, (blocks, kernel, stride, expansion, base) in enumerate(STAGES):
            outputs = _rounded(base * width)
            repeats = blocks if index in (0, len(STAGES) - 1) else math.ceil(blocks * depth)
            for block in range(repeats):
                self._blocks.append(Inverted(inputs, outputs, kernel, stride if block == 0 else 1, expansion))
                inputs = outputs
        self._conv_head = convolution(inputs, HEAD, 1)
        self._bn1 = nn.BatchNorm2d(HEAD, eps=1e-3)
        self.act1 = nn.ReLU6()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self._fc = nn.Linear(HEAD, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images to (N, K) logits."""
        y = self.act0(self._bn0(self._conv_stem(self.pad(images))))
        for block in self._blocks:
            y = block(y)
        y = self.act1(self._bn1(self._conv_head(y)))
        logits: Tensor = self._fc(self.pool(y).flatten(1))
        return logits


def _rounded(channels: float) -> int:
    """Return the nearest multiple of 8 that is not under nine tenths."""
    nearest = max(DIVISOR, int(channels + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest + DIVISOR if nearest < 0.9 * channels else nearest


def build(num_classes: int, *, width: float = 1.0, depth: float = 1.0) -> nn.Module:
    """Build an untrained EfficientNet-Lite.

    Args:
        num_classes: K, the number of logits.
        width: factor on the channels between stem and head; 1.0 for Lite0 and Lite1, 1.1 for Lite2.
        depth: factor on the blocks of all stages but the first and the last; 1.0, 1.1 and 1.2.
    Returns:
        A module from normalised images of any size to (N, K) logits.
    Source:
        Tan, Le 2019, and Liu 2020, "Higher accuracy on vision models with EfficientNet-Lite"; the names of the weights
        are those of the package efficientnet_lite_pytorch.
        Differs: one activation module per call site; padding follows the size of the image, where the package fixes it
        for the size that a network was trained at; no dropout and no dropped blocks, which evaluation does not have.
    """
    return EfficientNetLite(num_classes, width, depth)
