"""The first 20 MNIST test images, from the foolbox wheel.

They need no download.
"""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from bench.core.contracts import Dataset, Split
from bench.core.errors import UsageError
from bench.data._sources import has_wheel, wheel_images
from bench.data.mnist import Mnist


class FoolboxMnist(Dataset):
    """20 test images of MNIST, without a download.

    They are pixel-identical with the official test indices 0 to 19, in that order. `load` reads
    `foolbox/data/mnist_<index>_<label>.png` of the installed distribution, without importing foolbox.

    Source:
        LeCun et al. 1998; the files of Rauber et al., foolbox.
        Differs: nothing; the first 20 images of the test split only.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = Mnist.classes
    shape: ClassVar[tuple[int, int, int] | None] = Mnist.shape
    mean: ClassVar[tuple[float, ...]] = Mnist.mean
    epsilon: ClassVar[Fraction] = Fraction(3, 10)
    std: ClassVar[tuple[float, ...]] = Mnist.std

    def is_stored(self) -> bool:
        """Return whether the foolbox distribution is installed."""
        return has_wheel("mnist")

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return the 20 images.

        Raises:
            UsageError: if `split` is the training split.
            EnvironmentFault: if the distribution or its images are missing.
            IntegrityError: if a file is not an image of 28x28 pixels.
        """
        if split != "test":
            raise UsageError(f"expected the split 'test' of foolbox-mnist, got {split!r}; train on mnist")
        return wheel_images("mnist", (1, 28, 28))
