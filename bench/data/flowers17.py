"""17 kinds of flowers at 128x128 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

import torch

from bench.core.contracts import Split
from bench.core.schemas.geometry import Geometry
from bench.data._tabled import TabledPictures

TABLE = Path("flowers17", "labels.csv")
GEOMETRY = Geometry(resize=(128, 128), crop=(128, 128), interpolation="bicubic")
LISTED = {
    "train": "32de3231794b1dc62e4254c1ae2a254f31635e00e452b81397ddafaa83eaed86",
    "test": "9d6f04a3836f7bca9cc4a51e59ae41f743cbadcef40490241b549f2cb5fbb919",
}
"""SHA-256 of the lines `<stem of the file> <class>` of a split, in the table's order."""


class Flowers17(TabledPictures):
    """1,224 training and 136 test images of 17 kinds of flowers.

    The shorter side becomes 128 pixels, and the centre is cut out. `load` reads `flowers17` in the data folder:
    `labels.csv` with the columns `file`, `split` and `class`, and the files that it names. They may be the original
    JPEGs, or smaller copies of them. Labels and split are checked; a protocol checks the pixels.

    Source:
        Nilsback, Zisserman 2006, "A visual vocabulary for flower classification".
        Differs: the papers on attributional robustness draw their 72 training and 8 test images per kind without a
        seed; here the test images of a kind are the 8 whose file name (`image_0001.jpg`) has the smallest SHA-256. The
        source states no licence, so pages show outlines.
    """

    version: ClassVar[int] = 1
    table: ClassVar[Path] = TABLE
    classes: ClassVar[tuple[str, ...]] = (
        "daffodil", "snowdrop", "lily of the valley", "bluebell", "crocus", "iris", "tiger lily", "tulip",
        "fritillary", "sunflower", "daisy", "coltsfoot", "dandelion", "cowslip", "buttercup", "windflower", "pansy",
    )  # fmt: skip
    shape: ClassVar[tuple[int, int, int] | None] = GEOMETRY.shape
    geometry: ClassVar[Geometry | None] = GEOMETRY
    mean: ClassVar[tuple[float, ...]] = (0.4423, 0.4397, 0.2892)
    std: ClassVar[tuple[float, ...]] = (0.2754, 0.2504, 0.2577)
    epsilon: ClassVar[Fraction] = Fraction(8, 255)
    parts: ClassVar[Mapping[str, str]] = MappingProxyType({"train": "train", "test": "test"})

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the order of the table.

        Raises:
            EnvironmentFault: if the table is missing.
            IntegrityError: if labels or split are others, or an image is missing or damaged.
        """
        rows = self.read(split, ("file", "class"), "17 kinds of flowers", "table and images")
        self.check(rows, ("class",), "files and classes", LISTED[split])
        images = self.pictures(rows)
        return Split(images, torch.tensor([int(row["class"]) for row in rows]))
