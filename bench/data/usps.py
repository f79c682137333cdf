"""USPS digits, from an archive of arrays or the libsvm files."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import torch

from bench.core.contracts import Dataset, Split
from bench.core.storage.folders import data_folder
from bench.data._sources import open_or_download, read_archive


class Usps(Dataset):
    """7,291 training and 2,007 test images of digits from envelopes.

    The images have 16x16 pixels and are grey, white on black. `load` reads `usps/train.npz` and `usps/test.npz` in the
    data folder (arrays `images`, (N, 16, 16, 1) uint8, and `labels`); if they are missing, torchvision reads or
    downloads `usps.bz2` and `usps.t.bz2`, whose values v in [-1, 1] become trunc(255 (v + 1) / 2).

    Source:
        Hull 1994, "A database for handwritten text recognition research".
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
    shape: ClassVar[tuple[int, int, int] | None] = (1, 16, 16)
    mean: ClassVar[tuple[float, ...]] = (0.2539,)
    epsilon: ClassVar[Fraction] = Fraction(3, 10)
    std: ClassVar[tuple[float, ...]] = (0.3842,)

    def is_stored(self) -> bool:
        """Return whether the splits are stored, so that `load` needs no network."""
        compressed = (data_folder() / name for name in ("usps.bz2", "usps.t.bz2"))
        return all(_archive(split).is_file() for split in ("train", "test")) or all(p.is_file() for p in compressed)

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order.

        Raises:
            EnvironmentFault: if the files are missing, and cannot be downloaded.
            IntegrityError: if the archive does not hold such images.
        """
        if (archive := _archive(split)).is_file():
            return read_archive(archive, (1, 16, 16))
        from bench.core.compute.vision import datasets

        root, train = data_folder(), split == "train"
        stored = open_or_download(
            lambda download: datasets.USPS(str(root), train=train, download=download), "the USPS files", archive.parent
        )
        return Split(torch.from_numpy(stored.data).unsqueeze(1).contiguous(), torch.tensor(stored.targets))


def _archive(split: str) -> Path:
    return data_folder() / "usps" / f"{split}.npz"
