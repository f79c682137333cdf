"""328 side views of horses at 224x224 pixels, with a mask each."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import torch

from bench.core.contracts import Annotation, AnnotationKind, Split
from bench.core.errors import IntegrityError
from bench.core.schemas.geometry import Geometry
from bench.core.storage.files import sha256_of
from bench.data._image_files import read_images
from bench.data._tabled import TabledPictures

TABLE = Path("horses", "images.csv")
GEOMETRY = Geometry(resize=(224, 224), crop=(224, 224), interpolation="bicubic")
MASK = GEOMETRY.model_copy(update={"interpolation": "nearest", "channels": 1})
SORREL = 339
"""ImageNet's only horse."""
MASKS = "22ecbdc791822fed23448617c2a94da507acb72403b8240ef013a9273e847b00"
"""SHA-256 of the masks' pixels, 0 or 1, in the table's order."""


class Horses(TabledPictures):
    """328 photographs of horses, and one mask each.

    The shorter side becomes 224 pixels, and the centre is cut out. `load` reads `horses` in the data folder:
    `images.csv` with the columns `file` and `mask`, and the files that it names. The masks are checked; a protocol
    checks the pixels of the images.

    Source:
        Borenstein, Ullman 2002, "Class-specific, top-down segmentation"; the Weizmann horse database.
        Differs: the label of every image is ImageNet's `sorrel`, for networks that classify ImageNet. The source states
        no licence, so pages show outlines.
    """

    version: ClassVar[int] = 1
    table: ClassVar[Path] = TABLE
    shape: ClassVar[tuple[int, int, int] | None] = GEOMETRY.shape
    geometry: ClassVar[Geometry | None] = GEOMETRY
    annotates: ClassVar[tuple[AnnotationKind, ...]] = ("mask",)

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images in the order of the table.

        Raises:
            UsageError: if the training images are asked for.
            EnvironmentFault: if the table is missing.
            IntegrityError: if an image is missing or damaged.
        """
        rows = self._rows(split)
        return Split(self.pictures(rows), torch.full((len(rows),), SORREL))

    def annotations(self, split: Literal["train", "test"]) -> tuple[Annotation, ...]:
        """Return the masks in pixels of the 224x224 images.

        Raises:
            IntegrityError: if a mask is missing or another.
        """
        masks = read_images([self.folder / row["mask"] for row in self._rows(split)], MASK)[:, 0] >= 128
        if (actual := sha256_of(masks.numpy().tobytes())) != MASKS:
            raise IntegrityError(
                f"expected masks in {self.folder} with the sha256 {MASKS[:12]}…, got {actual[:12]}…; restore them"
            )
        return tuple(Annotation(mask=mask) for mask in masks)

    def _rows(self, split: str) -> list[dict[str, str]]:
        return self.read(split, ("file", "mask"), "the Weizmann horses", "table, images and masks")
