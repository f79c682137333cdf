"""240 images at 224x224 pixels with conflicting shape and texture."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch

from bench.core.contracts import Annotation, AnnotationKind, Cues, Split
from bench.core.schemas.geometry import Geometry
from bench.data._sixteen_categories import CATEGORIES
from bench.data._tabled import TabledPictures

TABLE = Path("cue-conflict", "images.csv")
COLUMNS = ("shape", "texture")
GEOMETRY = Geometry(resize=(224, 224), crop=(224, 224), interpolation="bicubic")
LISTED = "ffe355e63f86e7ec7c6ee835c9940319091e7d6e368b867e227860dca823cfd2"
"""SHA-256 of the lines `<stem of the file> <shape> <texture>`, in the table's order."""


class CueConflict(TabledPictures):
    """240 images whose shape and texture are of two categories.

    There is one image for each ordered pair of the 16 categories. `load` reads `cue-conflict` in the data folder:
    `images.csv` with the columns `file`, `shape` and `texture`, and the files that it names. The table is checked; a
    protocol checks the pixels.

    Source:
        Geirhos et al. 2019, "ImageNet-trained CNNs are biased towards texture; increasing shape bias improves accuracy
        and robustness", images made by style transfer.
        Differs: 240 of the 1,280 images. The label of an image is the first class of its shape's category, because a
        category is no class of ImageNet; metrics of cues do not use it, and accuracy means nothing here. Its licence
        is CC BY 4.0.
    """

    version: ClassVar[int] = 1
    table: ClassVar[Path] = TABLE
    shape: ClassVar[tuple[int, int, int] | None] = GEOMETRY.shape
    geometry: ClassVar[Geometry | None] = GEOMETRY
    annotates: ClassVar[tuple[AnnotationKind, ...]] = ("cues",)

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images in the order of the table.

        Raises:
            UsageError: if the training images are asked for.
            EnvironmentFault: if the table is missing.
            IntegrityError: if the table is another, or an image is missing or damaged.
        """
        rows = self._rows(split)
        images = self.pictures(rows)
        return Split(images, torch.tensor([CATEGORIES[row["shape"]][0] for row in rows]))

    def annotations(self, split: Literal["train", "test"]) -> tuple[Annotation, ...]:
        """Return the categories of shape and texture.

        Raises:
            IntegrityError: as `load` does.
        """
        groups, names = groups_of(len(self.classes)), list(CATEGORIES)
        places = [(names.index(row["shape"]), names.index(row["texture"])) for row in self._rows(split)]
        return tuple(Annotation(cues=Cues(groups, shape, texture)) for shape, texture in places)

    def _rows(self, split: str) -> list[dict[str, str]]:
        rows = self.read(split, ("file", *COLUMNS), "the images of conflicting cues", "table and images")
        self.check(rows, COLUMNS, "files, shapes and textures", LISTED)
        return rows


def groups_of(outputs: int) -> torch.Tensor:
    """(K,) int64: the category of each output, -1 for none."""
    groups = torch.full((outputs,), -1)
    for number, classes in enumerate(CATEGORIES.values()):
        groups[list(classes)] = number
    return groups
