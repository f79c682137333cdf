"""The schema of how a picture becomes pixels."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from bench.core.schemas.strict import Strict

LARGEST_SIDE = 4096
"""Pixels; a longer side is a mistake, and would fill the memory."""

Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Box = tuple[float, float, float, float]
"""Left, top, right and lower edge."""
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]


class Geometry(Strict):
    """How a picture of any size becomes pixels of one size.

    The picture is resized with antialiasing, and then its centre is cut out.
    """

    resize: tuple[Side, Side] = Field(description="height and width of the resized picture")
    fit: Literal["cover", "stretch"] = Field(
        default="cover",
        description="cover: proportions stay, and the picture covers `resize`; with equal sides its shorter side gets "
        "this length. stretch: the picture becomes exactly `resize`",
    )
    crop: tuple[Side, Side] = Field(description="height and width of the centre that is cut out")
    interpolation: Interpolation = "bilinear"
    channels: Literal[1, 3] = Field(default=3, description="3: red, green, blue; 1: grey")

    @model_validator(mode="after")
    def _cuts_from_the_inside(self) -> Self:
        if any(inner > outer for inner, outer in zip(self.crop, self.resize, strict=True)):
            came = f"{self.crop[0]}x{self.crop[1]} of {self.resize[0]}x{self.resize[1]}"
            raise ValueError(f"crop: expected at most the size that the picture is resized to, got {came}; correct one")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (C, H, W)."""
        return (self.channels, *self.crop)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of a picture after it is resized."""
        if self.fit == "stretch":
            return self.resize
        if self.resize[0] * width <= self.resize[1] * height:  # the width decides
            return max(self.resize[0], self.resize[1] * height // width), self.resize[1]
        return self.resize[0], max(self.resize[1], self.resize[0] * width // height)

    def corner(self, height: int, width: int) -> tuple[int, int]:
        """Return top and left edge of the centre of a resized picture."""
        top, left = (round((whole - part) / 2) for whole, part in zip((height, width), self.crop, strict=True))
        return top, left

    def placed(self, box: Box, height: int, width: int) -> Box | None:
        """Return the place of a picture's box in the cut-out centre.

        Args:
            box: left, top, right and lower edge in pixels of the picture.
            height: of the picture.
            width: of the picture.
        Returns:
            The part of the box that is cut out, or None if it lies outside.
        """
        whole = self.resized(height, width)
        top, left = self.corner(*whole)
        down, across = whole[0] / height, whole[1] / width
        x0, x1 = (min(max(edge * across - left, 0.0), float(self.crop[1])) for edge in (box[0], box[2]))
        y0, y1 = (min(max(edge * down - top, 0.0), float(self.crop[0])) for edge in (box[1], box[3]))
        return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
