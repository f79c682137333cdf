"""MNIST digits with the size and channels of SVHN.

They are for networks trained on SVHN.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from bench.core.contracts import Dataset, Split
from bench.data._enlarge import enlarge
from bench.data.mnist import Mnist


class Mnist32(Dataset):
    """The images of `mnist`, enlarged to 32x32 pixels with three channels.

    The original images have 28x28 pixels. The three channels are equal.

    Source:
        LeCun et al. 1998; for zero-shot transfer from SVHN: Aggarwal et al. 2020.
        Differs: bilinear; the paper does not say how it resizes.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = Mnist.classes
    shape: ClassVar[tuple[int, int, int] | None] = (3, 32, 32)
    mean: ClassVar[tuple[float, ...]] = Mnist.mean * 3
    epsilon: ClassVar[Fraction] = Mnist.epsilon
    std: ClassVar[tuple[float, ...]] = Mnist.std * 3

    def is_stored(self) -> bool:
        """Return whether the files are stored, so that `load` needs no network."""
        return Mnist().is_stored()

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order."""
        stored = Mnist().load(split)
        return Split(enlarge(stored.images, 32).expand(-1, 3, -1, -1).contiguous(), stored.labels)
