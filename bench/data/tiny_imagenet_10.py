"""Ten classes of Tiny ImageNet at 64x64 pixels, with a box each."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar, Literal

import torch

from bench.core.contracts import Annotation, AnnotationKind, Split
from bench.core.schemas.geometry import Geometry
from bench.data._tabled import TabledPictures

TABLE = Path("tiny-imagenet-10", "boxes.csv")
GEOMETRY = Geometry(resize=(64, 64), crop=(64, 64), interpolation="bicubic")
EDGES = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("class", *EDGES)
LISTED = {
    "train": "345c40cb2cd0035312d89d073abd9e94b42d01bd3734a06e57e41f828340dcdd",
    "test": "daecbc55b476b30fd987bb8326c2d02ab4150142a6959154540ecc2c209c9b7b",
}
"""SHA-256 of the lines `<stem of the file> <COLUMNS>` of a split, in the table's order."""


class TinyImagenet10(TabledPictures):
    """3,500 images of ten classes with a box each, 500 to test.

    `load` reads `tiny-imagenet-10` in the data folder: `boxes.csv` with the columns `file`, `split` (train or val),
    `class` and the box (`xmin`, `ymin`, `xmax`, `ymax`), and the files that it names, which are the original JPEGs.
    Labels and boxes are checked; a protocol checks the pixels.

    Source:
        Le, Yang 2015, "Tiny ImageNet visual recognition challenge"; Russakovsky et al. 2015.
        Differs: ten of 200 classes; the first 300 training images of each, and its 50 validation images as test images.
        The table's right and lower edges name the last pixel of the box; here they are the pixel after it. The terms
        are ImageNet's, for research and education: none is here, and pages show outlines.
    """

    version: ClassVar[int] = 1
    table: ClassVar[Path] = TABLE
    classes: ClassVar[tuple[str, ...]] = (
        "goldfish", "monarch butterfly", "ladybug", "Egyptian cat", "golden retriever", "king penguin", "school bus",
        "sports car", "teapot", "orange",
    )  # fmt: skip
    shape: ClassVar[tuple[int, int, int] | None] = GEOMETRY.shape
    geometry: ClassVar[Geometry | None] = GEOMETRY
    mean: ClassVar[tuple[float, ...]] = (0.4924, 0.4430, 0.3564)
    std: ClassVar[tuple[float, ...]] = (0.2789, 0.2614, 0.2771)
    epsilon: ClassVar[Fraction] = Fraction(2, 255)
    annotates: ClassVar[tuple[AnnotationKind, ...]] = ("boxes",)
    parts: ClassVar[Mapping[str, str]] = MappingProxyType({"train": "train", "test": "val"})

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images of a split in the order of the table.

        Raises:
            EnvironmentFault: if the table is missing.
            IntegrityError: if labels or boxes are others, or an image is missing or damaged.
        """
        rows = self._rows(split)
        images = self.pictures(rows)
        return Split(images, torch.tensor([int(row["class"]) for row in rows]))

    def annotations(self, split: Literal["train", "test"]) -> tuple[Annotation, ...]:
        """Return the boxes in pixels.

        Raises:
            IntegrityError: if labels or boxes are others.
        """
        return tuple(_annotation(row) for row in self._rows(split))

    def _rows(self, split: str) -> list[dict[str, str]]:
        rows = self.read(split, ("file", *COLUMNS), "ten classes of Tiny ImageNet", "table and images")
        self.check(rows, COLUMNS, "files, classes and boxes", LISTED[split])
        return rows


def _annotation(row: dict[str, str]) -> Annotation:
    left, top, right, lower = (float(row[edge]) for edge in EDGES)
    return Annotation(boxes=torch.tensor([[left, top, right + 1, lower + 1]], dtype=torch.float64))
