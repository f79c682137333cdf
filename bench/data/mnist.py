"""MNIST, from the official idx files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch

from bench.core.contracts import Dataset, Split
from bench.core.errors import IntegrityError
from bench.core.storage.files import sha256_of
from bench.core.storage.folders import data_folder
from bench.data._sources import open_or_download

FILES = {
    "train": (
        ("train-images-idx3-ubyte", "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"),
        ("train-labels-idx1-ubyte", "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    ),
    "test": (
        ("t10k-images-idx3-ubyte", "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"),
        ("t10k-labels-idx1-ubyte", "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    ),
}
"""Files of images and labels per split, with their SHA-256."""


class Mnist(Dataset):
    """60,000 training and 10,000 test images of handwritten digits, 28x28 pixels, grey.

    `load` reads `MNIST/raw` in the data folder, checked against the official files' checksums; if it is missing,
    torchvision downloads it.

    Source:
        LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition".
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    shape: ClassVar[tuple[int, int, int] | None] = (1, 28, 28)
    mean: ClassVar[tuple[float, ...]] = (0.1307,)
    epsilon: ClassVar[Fraction] = Fraction(3, 10)
    std: ClassVar[tuple[float, ...]] = (0.3081,)

    def is_stored(self) -> bool:
        """Return whether the files are stored, so that `load` needs no network."""
        return all((_raw() / name).is_file() for files in FILES.values() for name, _ in files)

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order.

        Raises:
            EnvironmentFault: if the files are missing, and cannot be downloaded.
            IntegrityError: if a file differs from the official one.
        """
        if not self.is_stored():
            open_or_download(_torchvision, "the MNIST idx files", _raw())
        images, labels = (_verified(_raw() / name, sha256) for name, sha256 in FILES[split])
        pixels = np.frombuffer(images, np.uint8, offset=16).reshape(-1, 1, 28, 28)
        digits = np.frombuffer(labels, np.uint8, offset=8)
        return Split(torch.from_numpy(pixels.copy()), torch.from_numpy(digits.astype(np.int64)))


def _raw() -> Path:
    return data_folder() / "MNIST" / "raw"


def _torchvision(download: bool) -> object:
    from bench.core.compute.vision import datasets

    return datasets.MNIST(str(data_folder()), download=download)


def _verified(path: Path, sha256: str) -> bytes:
    content = path.read_bytes()
    if (actual := sha256_of(content)) != sha256:
        raise IntegrityError(
            f"expected the official file with the sha256 {sha256[:12]}… at {path}, got {actual[:12]}…; delete it, "
            "so that it is downloaded again"
        )
    return content
