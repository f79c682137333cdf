"""Residual networks of He et al. for 32x32 images.

Their shortcuts have no parameters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.architectures.wide_resnet import Add

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""


class Block(nn.Module):
    """Two convolutions and a shortcut.

    The shortcut keeps every second pixel and adds zero channels where the size changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.add = Add()
        self.act2 = nn.ReLU()
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        y = self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x)))))
        skip = x
        if self.added:
            before = self.added // 2
            skip = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.added - before))
        summed: Tensor = self.act2(self.add(skip, y))
        return summed


class ResNetBasic(nn.Module):
    """A residual network of three stages of 16, 32 and 64 channels.

    Global average pooling and one linear layer follow.
    """

    def __init__(self, num_classes: int, depth: int, channels: int) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.act1 = nn.ReLU()
        self.layer1 = _stage(blocks, 16, 16, 1)
        self.layer2 = _stage(blocks, 16, 32, 2)
        self.layer3 = _stage(blocks, 32, 64, 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) normalised images to (N, K) logits."""
        features = self.layer3(self.layer2(self.layer1(self.act1(self.bn1(self.conv1(images))))))
        logits: Tensor = self.linear(torch.flatten(self.pool(features), 1))
        return logits


def _stage(blocks: int, inputs: int, outputs: int, stride: int) -> nn.Sequential:
    rest = [Block(outputs, outputs, 1) for _ in range(blocks - 1)]
    return nn.Sequential(Block(inputs, outputs, stride), *rest)


def build(num_classes: int, *, depth: int = 20, channels: int = 3) -> nn.Module:
    """Build an untrained ResNet of `depth` layers.

    Args:
        num_classes: K, the number of logits.
        depth: 6 n + 2 layers, n blocks per stage.
        channels: channels of the input images.
    Returns:
        A module from normalised images to (N, K) logits.
    Raises:
        ValueError: if `depth` is not 6 n + 2.
    Source:
        He, Zhang, Ren, Sun 2016, section 4.2, shortcuts of option A. Reference code: akamaster/pytorch_resnet_cifar10.
        Differs: one activation module per call site.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"expected a depth of the form 6 n + 2 with n >= 1, got {depth}; use 20, 32, 44, 56")
    return ResNetBasic(num_classes, depth, channels)


def adopt(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, int], dict[str, str | None]]:
    """Return the parameters of `build` for published shapes.

    Args:
        shapes: shapes of the published tensors by name.
    Returns:
        The parameters of `build` that the shapes tell, and no new names: the published ones are ours.
    Source:
        The names of akamaster/pytorch_resnet_cifar10.
        Differs: nothing.
    """
    blocks = {match[0] for name in shapes if (match := re.match(r"layer[123]\.\d+", name))}
    params = {"depth": 2 * len(blocks) + 2} if blocks and len(blocks) % 3 == 0 else {}
    if len(stem := shapes.get("conv1.weight", ())) == 4:
        params["channels"] = stem[1]
    return params, {}
