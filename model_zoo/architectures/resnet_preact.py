"""Pre-activation residual networks for 32x32 images, with ReLU or a smooth activation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from model_zoo.architectures.wide_resnet import Add

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""

Activation = Literal["relu", "half-huber"]

_BLOCK = re.compile(r"(?:pipe\.)?([123])\.(\d+)\.(.+)")
_IN_BLOCK = {
    "pre.0": "norm1", "pre.1": "act1", "main.0": "conv1", "main.1": "norm2", "main.2": "act2", "main.3": "conv2",
}  # fmt: skip
_OUTSIDE = {"0": "stem", "4": "norm", "5": "act", "7": "head"}


class HalfHuber(nn.Module):
    """A ReLU whose derivative has no jump.

    0 for u <= 0, u^2 / 2d up to d, u - d / 2 beyond.
    """

    d: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("d", torch.tensor(0.5))

    def forward(self, u: Tensor) -> Tensor:
        """Any shape to the same shape."""
        bent = torch.where(u > self.d, u - self.d / 2, u * u / (2 * self.d))
        return torch.where(u > 0, bent, torch.zeros_like(u))


class Block(nn.Module):
    """Pre-activation residual block.

    The shortcut is a 3x3 convolution where the size changes.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.act1 = activation()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.act2 = activation()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False) if stride > 1 else None
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
        y = self.act1(self.norm1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        summed: Tensor = self.add(skip, self.conv2(self.act2(self.norm2(self.conv1(y)))))
        return summed


class ResNetPreact(nn.Module):
    """A pre-activation network of stages of 16, 32 and 64 channels.

    Global average pooling and a 1x1 convolution follow.
    """

    def __init__(self, num_classes: int, depth: int, activation: type[nn.Module]) -> None:
        super().__init__()
        blocks = (depth - 2) // 6
        self.stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        layers = [
            Block(inputs if index == 0 else outputs, outputs, stride if index == 0 else 1, activation)
            for inputs, outputs, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
            for index in range(blocks)
        ]
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(64)
        self.act = activation()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Conv2d(64, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, H, W) normalised images to (N, K) logits."""
        features = self.act(self.norm(self.blocks(self.stem(images))))
        return torch.flatten(self.head(self.pool(features)), 1)


def build(num_classes: int, *, depth: int = 44, activation: Activation = "relu") -> nn.Module:
    """Build an untrained pre-activation ResNet of `depth` layers.

    Args:
        num_classes: K, the number of logits.
        depth: 6 n + 2 layers, n blocks per stage.
        activation: "relu", or "half-huber", which is smooth: attacks then search through the network itself.
    Returns:
        A module from normalised images to (N, K) logits.
    Raises:
        ValueError: if `depth` is not 6 n + 2, or the activation is unknown.
    Source:
        Woods, Chen, Teuscher 2019, "Adversarial explanations for understanding image classification decisions and
        improved neural network robustness". Reference code: wwoods/adversarial-explanations-cifar.
        Differs: the normalisation, a buffer of the reference network, is the entry's.
    """
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"expected a depth of the form 6 n + 2 with n >= 1, got {depth}; use 44")
    kinds: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "half-huber": HalfHuber}
    if activation not in kinds:
        raise ValueError(f"expected an activation of {', '.join(kinds)}, got {activation!r}")
    return ResNetPreact(num_classes, depth, kinds[activation])


def adopt(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, int | str], dict[str, str | None]]:
    """Return the parameters of `build` and our names for Woods' tensors.

    The shapes give the parameters.

    Args:
        shapes: shapes of the published tensors by name.
    Returns:
        The parameters of `build` that the shapes tell, and our name for every published name.
    Source:
        The names of wwoods/adversarial-explanations-cifar.
        Differs: nothing.
    """
    stages = [(int(m[1]), int(m[2])) for name in shapes if (m := _BLOCK.fullmatch(name))]
    if not stages:
        return {}, {}
    per_stage = 1 + max(index for _, index in stages)
    params: dict[str, int | str] = {"depth": 6 * per_stage + 2}
    params["activation"] = "half-huber" if any(name.endswith(".d") for name in shapes) else "relu"
    return params, {name: _own_name(name, per_stage) for name in shapes}


def _own_name(name: str, per_stage: int) -> str:
    if match := _BLOCK.fullmatch(name):
        module, _, leaf = match[3].rpartition(".")
        own = f"blocks.{(int(match[1]) - 1) * per_stage + int(match[2])}.{_IN_BLOCK.get(module, module)}"
    else:
        module, _, leaf = name.rpartition(".")
        own = _OUTSIDE.get(module.removeprefix("pipe."), module)
    return f"{own}.{leaf}"
