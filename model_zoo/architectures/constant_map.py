"""A linear layer on the mean colour, a control with constant maps.

Its gradient map is the same at every pixel and shows nothing.
"""

from __future__ import annotations

from torch import Tensor, nn

VERSION = 1
"""Part of a run's identity: raised when the same weights would give other logits."""


class ConstantMap(nn.Module):
    """A linear layer on the mean colour.

    z = W mean(x) + b. The mean is over the pixels: dz_y/dx is w_y / (H W) at every pixel of every image.
    """

    def __init__(self, num_classes: int, channels: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, channels, H, W) normalised images to (N, K) logits."""
        logits: Tensor = self.head(images.mean((2, 3)))
        return logits


def build(num_classes: int, *, channels: int = 3) -> nn.Module:
    """Build an untrained classifier of mean colours.

    Args:
        num_classes: K, the number of logits.
        channels: channels of the input images.
    Returns:
        A module from normalised images to (N, K) logits.
    Source:
        This project's: the simplest classifier better than chance whose gradient map is constant.
        Differs: nothing.
    """
    return ConstantMap(num_classes, channels)
