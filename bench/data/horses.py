"""328 side views of horses at 224x224 pixels, with a mask each."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal

import torch

from bench.core.contracts import Annotation, AnnotationKind, Dataset, Split
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.core.schemas.geometry import Geometry
from bench.core.storage.files import sha256_of
from bench.core.storage.folders import data_folder
from bench.data._image_files import read_images
from bench.data._imagenet_classes import IMAGENET_CLASSES
from bench.data._sources import read_table

FOLDER, TABLE = "horses", "images.csv"
GEOMETRY = Geometry(resize=(224, 224), crop=(224, 224), interpolation="bicubic")
MASK = GEOMETRY.model_copy(update={"interpolation": "nearest", "channels": 1})
SORREL = 339
"""ImageNet's only horse."""
MASKS = "22ecbdc791822fed23448617c2a94da507acb72403b8240ef013a9273e847b00"
"""SHA-256 of the masks' pixels, 0 or 1, in the table's order."""


class Horses(Dataset):
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
    classes: ClassVar[tuple[str, ...]] = IMAGENET_CLASSES
    shape: ClassVar[tuple[int, int, int] | None] = GEOMETRY.shape
    geometry: ClassVar[Geometry | None] = GEOMETRY
    mean: ClassVar[tuple[float, ...]] = (0.485, 0.456, 0.406)
    std: ClassVar[tuple[float, ...]] = (0.229, 0.224, 0.225)
    epsilon: ClassVar[Fraction] = Fraction(4, 255)
    shows_images: ClassVar[bool] = False
    annotates: ClassVar[tuple[AnnotationKind, ...]] = ("mask",)

    def is_stored(self) -> bool:
        """Return whether the table is in the data folder."""
        return (_folder() / TABLE).is_file()

    def load(self, split: Literal["train", "test"]) -> Split:
        """Return all images in the order of the table.

        Raises:
            UsageError: if the training images are asked for.
            EnvironmentFault: if the table is missing.
            IntegrityError: if an image is missing or damaged.
        """
        rows = _rows(split)
        return Split(read_images([_folder() / row["file"] for row in rows], GEOMETRY), torch.full((len(rows),), SORREL))

    def annotations(self, split: Literal["train", "test"]) -> tuple[Annotation, ...]:
        """Return the masks in pixels of the 224x224 images.

        Raises:
            IntegrityError: if a mask is missing or another.
        """
        masks = read_images([_folder() / row["mask"] for row in _rows(split)], MASK)[:, 0] >= 128
        if (actual := sha256_of(masks.numpy().tobytes())) != MASKS:
            raise IntegrityError(
                f"expected masks in {_folder()} with the sha256 {MASKS[:12]}…, got {actual[:12]}…; restore them"
            )
        return tuple(Annotation(mask=mask) for mask in masks)


def _folder() -> Path:
    return data_folder() / FOLDER


def _rows(split: str) -> list[dict[str, str]]:
    if split == "train":
        raise UsageError("expected the split test of horses, got train; it has no training images")
    path = _folder() / TABLE
    if not path.is_file():
        raise EnvironmentFault(
            f"expected the {TABLE} of the Weizmann horses in {_folder()}, got none; put table, images and masks there "
            f"(docs/imagenet.md), or name the folder that holds {FOLDER} with --data or BENCH_DATA"
        )
    return read_table(path, ("file", "mask"))
