"""Image sets that a table in the data folder names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from bench.core.contracts import Dataset
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.core.storage.files import sha256_of
from bench.core.storage.folders import data_folder
from bench.data._image_files import read_images
from bench.data._imagenet_classes import IMAGENET_CLASSES
from bench.data._sources import read_table


class TabledPictures(Dataset):
    """Images that a table names."""

    classes: ClassVar[tuple[str, ...]] = IMAGENET_CLASSES
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)
    epsilon: ClassVar[Fraction] = Fraction(4, 255)
    shows_images: ClassVar[bool] = False
    parts: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """The column `split` of each split's rows. If empty, all rows are test images."""
    table: ClassVar[Path]
    """The path of the table below the data folder."""

    @property
    def folder(self) -> Path:
        """The folder that holds the table and the files."""
        return data_folder() / self.table.parent

    def is_stored(self) -> bool:
        """Return whether the table is in the data folder."""
        return (data_folder() / self.table).is_file()

    def read(self, split: str, columns: Sequence[str], what: str, content: str) -> list[dict[str, str]]:
        """Return the rows of a split.

        Args:
            split: train or test.
            columns: the table's columns.
            what: the images in words.
            content: what belongs into the folder, in words.
        Raises:
            UsageError: if there are no training images, and they are asked for.
            EnvironmentFault: if the table is missing.
        """
        name = self.table.parent.name
        if split == "train" and not self.parts:
            raise UsageError(f"expected the split test of {name}, got train; it has no training images")
        if not self.is_stored():
            raise EnvironmentFault(
                f"expected the {self.table.name} of {what} in {self.folder}, got none; put {content} there "
                f"(docs/imagenet.md), or name the folder that holds {name} with --data or BENCH_DATA"
            )
        if not self.parts:
            return read_table(data_folder() / self.table, tuple(columns))
        rows = read_table(data_folder() / self.table, ("split", *columns))
        return [row for row in rows if row["split"] == self.parts[split]]

    def pictures(self, rows: Sequence[Mapping[str, str]]) -> Tensor:
        """(N, C, H, W) uint8: the images of rows.

        Raises:
            IntegrityError: if one is missing or damaged.
        """
        assert self.geometry is not None, "each of these sets says how its images are cut"
        return read_images([self.folder / row["file"] for row in rows], self.geometry)

    def check(self, rows: Sequence[Mapping[str, str]], columns: Sequence[str], told: str, listed: str) -> None:
        """Check that the rows are those of the published set.

        Args:
            rows: of one split.
            columns: beside `file`, whose name counts without its ending.
            told: what the columns hold, in words.
            listed: the SHA-256 of the lines `<stem of the file> <columns>`.
        Raises:
            IntegrityError: if they are others.
        """
        lines = [" ".join([Path(row["file"]).stem, *(row[name] for name in columns)]) for row in rows]
        if (actual := sha256_of("\n".join(lines).encode())) != listed:
            raise IntegrityError(
                f"expected {told} of sha256 {listed[:12]}… in {self.folder / self.table.name}, got {actual[:12]}…; "
                "restore it"
            )
