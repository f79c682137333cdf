"""The schema of image files that belong to a protocol."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from bench.core.schemas.geometry import Geometry
from bench.core.schemas.strict import Strict


class ImageFile(Strict):
    """One image file, pinned to its bytes."""

    file: Annotated[str, Field(min_length=1, max_length=1000, description="path below the folder")]
    label: int = Field(ge=0, description="number of its class")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="of the file")]


class ImageFolder(Strict):
    """The image files of a protocol, and how they become pixels."""

    place: str = Field(
        default="", exclude=True, description="the folder on this machine; it may move, so no identity depends on it"
    )
    classes: tuple[str, ...] = Field(min_length=2, description="names in the order of the network's outputs")
    geometry: Geometry
    files: tuple[ImageFile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _of_known_classes(self) -> Self:
        for each in self.files:
            if each.label >= len(self.classes):
                raise ValueError(
                    f"files: expected labels 0 to {len(self.classes) - 1}, got {each.label} of {each.file}; correct it"
                )
        return self
