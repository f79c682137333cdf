"""A small convolutional network without pooling or normalisation.

It is common in work on certified robustness.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""

LAYERS = ("conv1", "conv2", "linear", "head")
_SEQUENTIAL = dict(zip(("0", "2", "5", "7"), LAYERS, strict=True))
_TENSORFLOW = dict(zip(("conv1", "conv2", "fc1", "fc2"), LAYERS, strict=True))


class ConvSmall(nn.Module):
    """Two convolutions of 4x4 with stride 2, and two linear layers."""

    def __init__(self, num_classes: int, padding: int, channels: int, side: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 4, 2, padding)
        self.act1 = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 32, 4, 2, padding)
        self.act2 = nn.ReLU()
        self.linear = nn.Linear(32 * final_side(side, padding) ** 2, 100)
        self.act3 = nn.ReLU()
        self.head = nn.Linear(100, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, side, side) normalised images to (N, K) logits."""
        features = self.act2(self.conv2(self.act1(self.conv1(images))))
        logits: Tensor = self.head(self.act3(self.linear(torch.flatten(features, 1))))
        return logits


def final_side(side: int, padding: int) -> int:
    """Return the height and width of the second convolution's output."""
    for _ in range(2):
        side = (side + 2 * padding - 4) // 2 + 1
    return side


def build(num_classes: int, *, padding: int = 1, channels: int = 3, side: int = 32) -> nn.Module:
    """Build an untrained network of 16 and 32 channels.

    Args:
        num_classes: K, the number of logits.
        padding: padding of both convolutions, 0 or 1.
        channels: channels of the input images.
        side: height and width of the input images.
    Returns:
        A module from normalised images to (N, K) logits.
    Raises:
        ValueError: if the image is too small for two convolutions, or the padding is not 0 or 1.
    Source:
        Wong, Kolter 2018, "Provable defenses against adversarial examples via the convex outer adversarial polytope".
        Reference codes: locuslab/convex_adversarial (padding 1); ConvSmall of eth-sri/eran (padding 0).
        Differs: nothing.
    """
    if padding not in {0, 1} or final_side(side, padding) < 1:
        raise ValueError(f"expected a padding of 0 or 1 and a side of at least 10, got {padding} and {side}")
    return ConvSmall(num_classes, padding, channels, side)


def adopt(shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, int], dict[str, str | None]]:
    """Return the parameters of `build` and our names for published tensors.

    The shapes give the parameters.

    Args:
        shapes: shapes of the published tensors by name, in PyTorch's layout.
    Returns:
        The parameters of `build` that the shapes tell, and our name for every published name.
    Source:
        The numbering of `nn.Sequential` in locuslab/convex_adversarial, and the variables of fra31/mmr-universal.
        Differs: nothing.
    """
    names = {name: _own_name(name) for name in shapes}
    own = {ours: shapes[name] for name, ours in names.items()}
    params = {}
    if len(stem := own.get("conv1.weight", ())) == 4:
        params["channels"] = stem[1]
    width = own.get("linear.weight", (0, 0))[-1]
    for padding, side in ((1, 32), (1, 28), (0, 32), (0, 28)):
        if width == 32 * final_side(side, padding) ** 2:
            params |= {"padding": padding, "side": side}
            break
    return params, dict(names)


def arrange(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return TensorFlow's variables in PyTorch's layout.

    Other tensors stay as they are.

    Args:
        tensors: the tensors of a checkpoint by their names.
    Returns:
        Convolutions (out, in, row, column), matrices (out, in), vectors (n,); the columns of the first matrix in the
        order (channel, row, column) in which PyTorch flattens.
    Source:
        fra31/mmr-universal: convolutions (row, column, in, out), matrices (in, out), biases (1, n), and the features
        flattened as (row, column, channel).
        Differs: nothing.
    """
    if not any(name.startswith("weights_") for name in tensors):
        return dict(tensors)
    arranged = {}
    for name, tensor in tensors.items():
        if tensor.ndim == 4:
            arranged[name] = tensor.permute(3, 2, 0, 1)
        elif name == "weights_fc1":
            side = round((tensor.shape[0] / 32) ** 0.5)
            arranged[name] = tensor.reshape(side, side, 32, -1).permute(3, 2, 0, 1).flatten(1)
        else:
            arranged[name] = tensor.T if name.startswith("weights_") else tensor.flatten()
    return arranged


def _own_name(name: str) -> str:
    layer, _, leaf = name.rpartition(".")
    if layer in _SEQUENTIAL:
        return f"{_SEQUENTIAL[layer]}.{leaf}"
    kind, _, layer = name.partition("_")
    leaf = {"weights": "weight", "biases": "bias"}.get(kind, "")
    return f"{_TENSORFLOW[layer]}.{leaf}" if leaf and layer in _TENSORFLOW else name
