"""The first 20 Fashion-MNIST test images, from the foolbox wheel.

They need no download.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from bench.core.contracts import Dataset, Split
from bench.core.errors import UsageError
from bench.data._sources import has_wheel, wheel_images
from bench.data.fashion_mnist import FashionMnist


class FoolboxFashionMnist(Dataset):
    """20 test images of Fashion-MNIST, without a download.

    They have the official test indices 0 to 19, in that order. `load` reads
    `foolbox/data/fashionMNIST_<index>_<label>.png` of the installed distribution, without importing foolbox.

    Source:
        Xiao, Rasul, Vollgraf 2017; the files of Rauber et al., foolbox.
        Differs: nothing; the first 20 images of the test split only.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = FashionMnist.classes
    shape: ClassVar[tuple[int, int, int] | None] = FashionMnist.shape
    mean: ClassVar[tuple[float, ...]] = FashionMnist.mean
    epsilon: ClassVar[Fraction] = FashionMnist.epsilon
    std: ClassVar[tuple[float, ...]] = FashionMnist.std

    def is_stored(self) -> bool:
        """Return whether the foolbox distribution is installed."""
        return has_wheel("fashionMNIST")

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return the 20 images.

        Raises:
            UsageError: if `split` is the training split.
            EnvironmentFault: if the distribution or its images are missing.
            IntegrityError: if a file is not an image of 28x28 pixels.
        """
        if split != "test":
            raise UsageError(
                f"expected the split 'test' of foolbox-fashion-mnist, got {split!r}; train on fashion-mnist"
            )
        return wheel_images("fashionMNIST", (1, 28, 28))
