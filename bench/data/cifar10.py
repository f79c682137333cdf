"""CIFAR-10, from the official python batches."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from bench.core.contracts import Dataset, Split
from bench.core.storage.folders import data_folder
from bench.data._sources import open_or_download

FOLDER = "cifar-10-batches-py"


class Cifar10(Dataset):
    """50,000 training and 10,000 test images of 32x32 pixels in ten classes.

    `load` reads `cifar-10-batches-py` in the data folder, checked against the official checksums; if it is missing,
    torchvision downloads it.

    Source:
        Krizhevsky 2009, "Learning Multiple Layers of Features from Tiny Images".
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = (
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
    )  # fmt: skip
    shape: ClassVar[tuple[int, int, int] | None] = (3, 32, 32)
    mean: ClassVar[tuple[float, ...]] = (0.4914, 0.4822, 0.4465)
    std: ClassVar[tuple[float, ...]] = (0.2023, 0.1994, 0.2010)

    def is_stored(self) -> bool:
        """Return whether the batches are stored, so that `load` needs no network."""
        return (data_folder() / FOLDER).is_dir()

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order.

        Raises:
            EnvironmentFault: if the batches are missing or damaged, and cannot be downloaded.
        """
        from bench.core.compute.vision import datasets

        root, train = data_folder(), split == "train"
        stored = open_or_download(
            lambda download: datasets.CIFAR10(str(root), train=train, download=download),
            "the CIFAR-10 python batches",
            root / FOLDER,
        )
        images = torch.from_numpy(stored.data).permute(0, 3, 1, 2).contiguous()
        return Split(images, torch.tensor(stored.targets))
