"""Wide residual networks for 32x32 images."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""

_BLOCK = re.compile(r"(?:block|layer)([123])\.(?:layer\.)?(\d+)\.(.+)")
_IN_BLOCK = {"bn1": "norm1", "bn2": "norm2", "convShortcut": "shortcut", "shortcut.0": "shortcut"}
_OUTSIDE = {"conv1": "stem", "bn1": "norm", "fc": "head", "linear": "head"}


class Add(nn.Module):
    """A sum as a module.

    Layer-wise relevance propagation can then split relevance between its terms.
    """

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Two tensors of one shape to their sum."""
        return a + b


class Block(nn.Module):
    """Pre-activation residual block.

    Every activation is its own module, so that it can be swapped or hooked.
    """

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
        """(N, inputs, H, W) to (N, outputs, H/stride, W/stride)."""
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


def adopt(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, int], dict[str, str | None]]:
    """Return the parameters of `build` and our names for a foreign WRN.

    The shapes give the parameters.

    Args:
        shapes: shapes of the published tensors by name.
    Returns:
        The parameters of `build` that the shapes tell, and our name for every published name, or None for a tensor that
        its network never uses.
    Source:
        Names of the codes of Zagoruyko, Komodakis 2016 in PyTorch (xternalz), which TRADES, Carmon et al. 2019 and most
        of RobustBench copied, and of kuangliu's variant.
        Differs: nothing.
    """
    stages = [(int(m[1]), int(m[2])) for name in shapes if (m := _BLOCK.fullmatch(name))]
    per_stage = 1 + max((index for _, index in stages), default=-1)
    names = {name: _own_name(name, per_stage) for name in shapes}
    own = {ours: shapes[name] for name, ours in names.items() if ours is not None}
    blocks = {name.split(".")[1] for name in own if name.startswith("blocks.")}
    params = {"depth": 2 * len(blocks) + 4} if blocks and len(blocks) % 3 == 0 else {}
    if len(head := own.get("head.weight", ())) == 2 and head[1] % 64 == 0:
        params["width"] = head[1] // 64
    if len(stem := own.get("stem.weight", ())) == 4:
        params["channels"] = stem[1]
    return params, names


def _own_name(name: str, per_stage: int) -> str | None:
    if name.startswith("sub_block1."):
        return None  # TRADES and Carmon et al. make a second first stage and never call it
    table, start, rest = _OUTSIDE, "", name
    if match := _BLOCK.fullmatch(name):
        table, start, rest = _IN_BLOCK, f"blocks.{(int(match[1]) - 1) * per_stage + int(match[2])}.", match[3]
    module, _, leaf = rest.rpartition(".")
    return f"{start}{table.get(module, module)}.{leaf}" if module else name
