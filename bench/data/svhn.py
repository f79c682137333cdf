"""SVHN house numbers, from the official cropped-digit files."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch

from bench.core.contracts import Dataset, Split
from bench.core.storage.folders import data_folder
from bench.data._sources import open_or_download

FOLDER = "svhn"


class Svhn(Dataset):
    """73,257 training and 26,032 test images of house numbers, 32x32 pixels.

    `load` reads `svhn/train_32x32.mat` and `svhn/test_32x32.mat` in the data folder, checked against the official
    checksums; if they are missing, torchvision downloads them.

    Source:
        Netzer et al. 2011, "Reading digits in natural images with unsupervised feature learning".
        Differs: nothing; the set of extra images is not used.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    shape: ClassVar[tuple[int, int, int] | None] = (3, 32, 32)
    mean: ClassVar[tuple[float, ...]] = (0.4377, 0.4438, 0.4728)
    std: ClassVar[tuple[float, ...]] = (0.1980, 0.2010, 0.1970)

    def is_stored(self) -> bool:
        """Return whether the files are stored, so that `load` needs no network."""
        return all((data_folder() / FOLDER / f"{split}_32x32.mat").is_file() for split in ("train", "test"))

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order.

        Raises:
            EnvironmentFault: if the files are missing or damaged, and cannot be downloaded.
        """
        from bench.core.compute.vision import datasets

        place = data_folder() / FOLDER
        stored = open_or_download(
            lambda download: datasets.SVHN(str(place), split=split, download=download), "the SVHN files", place
        )
        return Split(torch.from_numpy(stored.data).contiguous(), torch.from_numpy(stored.labels))
