"""250 validation images of ImageNet at 224x224 pixels, with a box each."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch
from PIL import Image

from bench.core.contracts import Annotation, AnnotationKind, Split
from bench.core.errors import IntegrityError
from bench.core.schemas.geometry import Geometry
from bench.data._tabled import TabledPictures

TABLE = Path("imagenet-boxes", "boxes.csv")
SIZE, BOX = ("original_width", "original_height"), ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("class", *SIZE, *(f"original_{edge}" for edge in BOX))
GEOMETRY = Geometry(resize=(256, 256), crop=(224, 224), interpolation="bicubic")
LISTED = "3f204fe3feb889ec1a37d47d4a34dff48a6196d063a55bab9d9679013c833f25"
"""SHA-256 of the lines `<stem of the file> <COLUMNS>`, in the table's order."""


class ImagenetBoxes(TabledPictures):
    """250 images of 250 classes, and one box each.

    The shorter side becomes 256 pixels, and the centre of 224x224 is cut out. `load` reads `imagenet-boxes` in the data
    folder: `boxes.csv` with the columns `file`, `class`, the size of the original and the box in it
    (`original_width`, `original_height`, `original_xmin`, …), and the files that it names. They may be the original
    JPEGs. Labels and boxes are checked; a protocol checks the pixels.

    Source:
        Russakovsky et al. 2015, "ImageNet Large Scale Visual Recognition Challenge", validation images and boxes.
        Differs: of the first 1,000 images those in colour with exactly one box, at most one per class, evenly spread
        over the classes. Boxes are scaled and cut with the image, and not rounded. The terms are for research and
        education and do not allow to pass images on: none is here, and pages show outlines.
    """

    version: ClassVar[int] = 1
    table: ClassVar[Path] = TABLE
    shape: ClassVar[tuple[int, int, int] | None] = GEOMETRY.shape
    geometry: ClassVar[Geometry | None] = GEOMETRY
    annotates: ClassVar[tuple[AnnotationKind, ...]] = ("boxes",)

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images in the order of the table.

        Raises:
            UsageError: if the training images are asked for.
            EnvironmentFault: if the table is missing.
            IntegrityError: if labels or boxes are others, or an image is missing or damaged.
        """
        rows = self._rows(split)
        images = self.pictures(rows)
        return Split(images, torch.tensor([int(row["class"]) for row in rows]))

    def annotations(self, split: Literal["train", "test"]) -> tuple[Annotation, ...]:
        """Return the boxes in pixels of the 224x224 images.

        Raises:
            IntegrityError: as `load` does.
        """
        return tuple(_annotation(self.folder / row["file"], row) for row in self._rows(split))

    def _rows(self, split: str) -> list[dict[str, str]]:
        rows = self.read(split, ("file", *COLUMNS), "250 validation images of ImageNet", "table and images")
        self.check(rows, COLUMNS, "files, classes and boxes", LISTED)
        return rows


def _annotation(path: Path, row: dict[str, str]) -> Annotation:
    """Return the box of the image in a file.

    The file may be smaller than the original.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
    except OSError as error:
        raise IntegrityError(f"expected an image in {path}, got: {error}; restore it") from error
    across, down = width / int(row[SIZE[0]]), height / int(row[SIZE[1]])
    left, top, right, lower = (float(row[f"original_{edge}"]) for edge in BOX)
    box = GEOMETRY.placed((left * across, top * down, right * across, lower * down), height, width)
    return Annotation(boxes=torch.tensor([] if box is None else [box], dtype=torch.float64).view(-1, 4))
