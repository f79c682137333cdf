"""Sets of test images that a table in the data folder names."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

from bench.core.contracts import Dataset
from bench.core.errors import EnvironmentFault, UsageError
from bench.core.storage.folders import data_folder
from bench.data._imagenet_classes import IMAGENET_CLASSES
from bench.data._sources import read_table


class TabledPictures(Dataset):
    """Test images that a table names, shown as outlines only."""

    classes: ClassVar[tuple[str, ...]] = IMAGENET_CLASSES
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)
    epsilon: ClassVar[Fraction] = Fraction(4, 255)
    shows_images: ClassVar[bool] = False

    @property
    @abstractmethod
    def table(self) -> Path:
        """The path of the table below the data folder."""

    @property
    def folder(self) -> Path:
        """The folder that holds the table and the files."""
        return data_folder() / self.table.parent

    def is_stored(self) -> bool:
        """Return whether the table is in the data folder."""
        return (data_folder() / self.table).is_file()

    def read(self, split: str, columns: Sequence[str], what: str, parts: str) -> list[dict[str, str]]:
        """Return the rows of the table.

        Args:
            split: the test images are all there is.
            columns: the table's columns.
            what: the images in words.
            parts: what belongs into the folder, in words.
        Raises:
            UsageError: if the training images are asked for.
            EnvironmentFault: if the table is missing.
        """
        name = self.table.parent.name
        if split == "train":
            raise UsageError(f"expected the split test of {name}, got train; it has no training images")
        if not self.is_stored():
            raise EnvironmentFault(
                f"expected the {self.table.name} of {what} in {self.folder}, got none; put {parts} there "
                f"(docs/imagenet.md), or name the folder that holds {name} with --data or BENCH_DATA"
            )
        return read_table(data_folder() / self.table, tuple(columns))
