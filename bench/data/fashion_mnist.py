"""Fashion-MNIST, from the official idx files."""

from __future__ import annotations

from fractions import Fraction
from typing import ClassVar, Literal

from bench.core.contracts import Dataset, Split
from bench.core.storage.folders import data_folder
from bench.data._sources import open_or_download

FILES = tuple(f"{part}-{what}" for part in ("train", "t10k") for what in ("images-idx3-ubyte", "labels-idx1-ubyte"))


class FashionMnist(Dataset):
    """60,000 training and 10,000 test images of clothes, 28x28 pixels, grey.

    `load` reads `FashionMNIST/raw` in the data folder; if it is missing, torchvision downloads it, checked against the
    official checksums.

    Source:
        Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a novel image dataset for benchmarking machine learning algorithms".
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]] = (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    )  # fmt: skip
    shape: ClassVar[tuple[int, int, int] | None] = (1, 28, 28)
    mean: ClassVar[tuple[float, ...]] = (0.2860,)
    epsilon: ClassVar[Fraction] = Fraction(1, 10)
    std: ClassVar[tuple[float, ...]] = (0.3530,)

    def is_stored(self) -> bool:
        """Return whether the files are stored, so that `load` needs no network."""
        return all((data_folder() / "FashionMNIST" / "raw" / name).is_file() for name in FILES)

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the official order.

        Raises:
            EnvironmentFault: if the files are missing, and cannot be downloaded.
        """
        from bench.core.compute.vision import datasets

        root, train = data_folder(), split == "train"
        stored = open_or_download(
            lambda download: datasets.FashionMNIST(str(root), train=train, download=download),
            "the Fashion-MNIST idx files",
            root / "FashionMNIST",
        )
        return Split(stored.data.unsqueeze(1).contiguous(), stored.targets.long())
