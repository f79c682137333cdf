"""The first 20 CIFAR-10 test images, from the foolbox wheel.

They need no download.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from bench.core.contracts import Dataset, Split
from bench.core.errors import UsageError
from bench.data._sources import has_wheel, wheel_images
from bench.data.cifar10 import Cifar10


class FoolboxCifar10(Dataset):
    """20 test images of CIFAR-10, without a download.

    They are pixel-identical with the official test indices 0 to 19, in that order. `load` reads
    `foolbox/data/cifar10_<index>_<label>.png` of the installed distribution, without importing foolbox.

    Source:
        Krizhevsky 2009; the files of Rauber et al., foolbox.
        Differs: nothing; the first 20 images of the test split only.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = Cifar10.classes
    shape: ClassVar[tuple[int, int, int] | None] = Cifar10.shape
    mean: ClassVar[tuple[float, ...]] = Cifar10.mean
    std: ClassVar[tuple[float, ...]] = Cifar10.std

    def is_stored(self) -> bool:
        """Return whether the foolbox distribution is installed."""
        return has_wheel("cifar10")

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return the 20 images.

        Raises:
            UsageError: if `split` is the training split.
            EnvironmentFault: if the distribution or its images are missing.
            IntegrityError: if a file is not an image of 32x32 pixels.
        """
        if split != "test":
            raise UsageError(f"expected the split 'test' of foolbox-cifar10, got {split!r}; train on cifar10")
        return wheel_images("cifar10", (3, 32, 32))
