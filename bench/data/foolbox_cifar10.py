"""The first 20 CIFAR-10 test images, as they come with the foolbox wheel: no download."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from PIL import Image

from bench.core.contracts import Dataset, Split
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.data.cifar10 import Cifar10

COUNT = 20


class FoolboxCifar10(Dataset):
    """20 test images of CIFAR-10, pixel-identical with the official test indices 0 to 19, in that order.

    Reads `foolbox/data/cifar10_<index>_<label>.png` of the installed distribution, without importing foolbox.

    Source:
        Krizhevsky 2009; the files of Rauber et al., foolbox.
        Differs: nothing; the first 20 images of the test split only.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = Cifar10.classes
    mean: ClassVar[tuple[float, ...]] = Cifar10.mean
    std: ClassVar[tuple[float, ...]] = Cifar10.std

    def is_stored(self) -> bool:
        """Return whether the foolbox distribution is installed."""
        try:
            return _one_file(0).exists()
        except EnvironmentFault:
            return False

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return the 20 images.

        Raises:
            UsageError: if the training split is asked for.
            EnvironmentFault: if the distribution or its images are missing.
            IntegrityError: if a file is no image of 32x32 pixels.
        """
        if split != "test":
            raise UsageError(f"expected the split 'test' of foolbox-cifar10, got {split!r}; train on cifar10")
        files = [_one_file(index) for index in range(COUNT)]
        images = np.stack([_pixels(path) for path in files])
        labels = [int(path.stem.rsplit("_", 1)[1]) for path in files]
        return Split(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels))


def _one_file(index: int) -> Path:
    try:
        folder = Path(str(distribution("foolbox").locate_file("foolbox/data")))
    except PackageNotFoundError as error:
        raise EnvironmentFault("expected the package foolbox, got none; pip install foolbox") from error
    found = sorted(folder.glob(f"cifar10_{index:02d}_[0-9].png"))
    if len(found) != 1:
        raise EnvironmentFault(
            f"expected one file cifar10_{index:02d}_<label>.png in {folder}, got {len(found)}; "
            "reinstall foolbox from its wheel: pip install --force-reinstall --no-deps foolbox"
        )
    return found[0]


def _pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
    except OSError as error:
        raise IntegrityError(f"expected a PNG in {path}, got: {error}; reinstall foolbox") from error
    if pixels.shape != (32, 32, 3):
        raise IntegrityError(f"expected 32x32 pixels in {path}, got {pixels.shape[:2]}; reinstall foolbox")
    return pixels
