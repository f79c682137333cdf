"""USPS digits with the size of MNIST, for networks trained on MNIST."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from bench.core.contracts import Dataset, Split
from bench.data._enlarge import enlarge
from bench.data.usps import Usps


class Usps28(Dataset):
    """The images of `usps`, enlarged from 16x16 to 28x28 pixels.

    They are white on black like MNIST's.

    Source:
        Hull 1994; for zero-shot transfer from MNIST: Aggarwal et al. 2020.
        Differs: bilinear; the paper does not say how it resizes.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = Usps.classes
    shape: ClassVar[tuple[int, int, int] | None] = (1, 28, 28)
    mean: ClassVar[tuple[float, ...]] = Usps.mean
    epsilon: ClassVar[Fraction] = Usps.epsilon
    std: ClassVar[tuple[float, ...]] = Usps.std

    def is_stored(self) -> bool:
        """Return whether the splits are stored, so that `load` needs no network."""
        return Usps().is_stored()

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order."""
        stored = Usps().load(split)
        return Split(enlarge(stored.images, 28), stored.labels)
