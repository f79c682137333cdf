"""Pixels of image strips.

Cuts a showcase PNG into tiles, and draws all pictures of a run's page into one PNG.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.core.errors import IntegrityError
from bench.core.schemas.records import SHOWCASE_TILES, TOP_K_CODES
from bench.core.storage.showcase import Pixels
from bench.core.storage.stored_run import StoredRun
from leaderboard.drawing.colormap import INFERNO

MAGNIFICATION = 10
MARK_COLORS = {"kept": (255, 255, 255), "lost": (255, 150, 50), "gained": (70, 175, 255)}
"""The colours differ in hue and in lightness. The marks differ in shape too."""

PICTURES = ("original", "perturbed", "perturbation", "heatmap-before", "heatmap-after")
"""Pictures in the image's own size, which are the first columns of a sprite. The last column holds the larger marks."""

_GREYS = 24
_SHADES = np.linspace(14, 108, _GREYS).round().astype(np.uint8)
"""Shades of the dimmed image under the marks. In the palette, the marks' colours come after them."""

LARGEST_MARKED = 128
"""Pixels of the longer side of an image in which every mark has a shape."""

_MARGIN = 1
"""Width of the border that repeats a picture's edge, so that scaling does not mix in a neighbouring picture."""


class Layout(NamedTuple):
    """Positions of a sprite's pictures.

    A sprite has one row per sample, in the order of the record.
    """

    samples: int
    height: int
    width: int

    @property
    def cell(self) -> int:
        """Return the side of a mark's cell in pixels.

        In large images a mark is one pixel.
        """
        side = max(self.height, self.width)
        return max(6, 256 // side) if side <= LARGEST_MARKED else 1

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sprite."""
        x, _, width, height = self.box(0, "marks")
        return x + width + _MARGIN, self.samples * (height + 2 * _MARGIN)

    def box(self, sample: int, picture: str) -> tuple[int, int, int, int]:
        """Return x, y, width and height of a sample's picture."""
        column, factor = len(PICTURES), self.cell
        if picture in PICTURES:
            column, factor = PICTURES.index(picture), 1
        height, width = factor * self.height, factor * self.width
        x = column * (self.width + 2 * _MARGIN) + _MARGIN
        return x, sample * (height + 2 * _MARGIN) + _MARGIN, width, height


def cut(sheet: Pixels, run: StoredRun) -> dict[str, Pixels]:
    """Return the tiles of a showcase by name.

    A tile is (N, H, W, 3), with N samples in the order of the record.

    Raises:
        IntegrityError: if the sheet does not consist of the tiles that the record implies.
    """
    path, count, columns = run.showcase_path, len(run.record.showcase), len(SHOWCASE_TILES)
    height, width, _ = sheet.shape
    if not count or height % count or width % columns:
        raise IntegrityError(f"expected {count} rows of {columns} equal tiles in {path}, got {width}x{height} pixels")
    by_column = sheet.reshape(count, height // count, columns, width // columns, 3)
    tiles = {name: by_column[:, :, column] for column, name in enumerate(SHOWCASE_TILES)}
    if not np.isin(tiles["top-k"], list(TOP_K_CODES.values())).all():
        raise IntegrityError(f"expected only the codes {TOP_K_CODES} in the top-k tiles of {path}, got others")
    return tiles


def layout(tiles: dict[str, Pixels]) -> Layout:
    """Return the layout of the sprite of cut tiles."""
    return Layout(*tiles["before"].shape[:3])


def sprite(tiles: dict[str, Pixels], form: str = "PNG") -> bytes:
    """Encode all pictures of a run as one lossless PNG or WEBP."""
    place, before, after = layout(tiles), tiles["before"], tiles["after"]
    width, height = place.size
    canvas = np.zeros((height, width, 3), np.uint8)
    drawn = {
        "original": before,
        "perturbed": after,
        "perturbation": magnified_perturbation(before, after),
        "heatmap-before": INFERNO[tiles["heatmap-before"][..., 0]],
        "heatmap-after": INFERNO[tiles["heatmap-after"][..., 0]],
        "marks": marks(tiles["top-k"], before),
    }
    for picture, pixels in drawn.items():
        edged = np.pad(pixels, ((0, 0), (_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)), mode="edge")
        column = edged.reshape(-1, edged.shape[2], 3)
        x = place.box(0, picture)[0] - _MARGIN
        canvas[: len(column), x : x + column.shape[1]] = column
    sink = io.BytesIO()
    Image.fromarray(canvas).save(sink, form, **({"lossless": True} if form == "WEBP" else {}))
    return sink.getvalue()


STRIP_SCALE, STRIP_GAP = 4, 8
STRIP_SIDE = 448
"""Pixels that enlargement does not exceed; larger pictures stay as they are."""

STRIP = ("before", "heatmap-before", "after", "heatmap-after")
"""Tiles of a strip that is one image, from left to right."""


def strip_image(tiles: dict[str, Pixels], index: int) -> bytes:
    """Return a PNG of one showcase image before and after the attack.

    From left to right: image and heatmap before the attack, image and heatmap after it.
    """
    shown = [tiles[name][index] for name in STRIP]
    pictures = [
        INFERNO[pixels[..., 0]] if name.startswith("heatmap") else pixels
        for name, pixels in zip(STRIP, shown, strict=True)
    ]
    height, width, _ = pictures[0].shape
    scale = max(1, min(STRIP_SCALE, STRIP_SIDE // max(height, width)))
    step = scale * width + STRIP_GAP
    canvas = np.full((scale * height, len(STRIP) * step - STRIP_GAP, 3), 255, np.uint8)
    for column, pixels in enumerate(pictures):
        canvas[:, column * step : column * step + scale * width] = _enlarged(pixels.swapaxes(0, 2), scale).swapaxes(
            0, 2
        )
    sink = io.BytesIO()
    Image.fromarray(canvas).save(sink, format="PNG", optimize=True)
    return sink.getvalue()


def magnified_perturbation(before: Pixels, after: Pixels) -> Pixels:
    """Return `after - before`, magnified about grey, from 8-bit pixels."""
    change = after.astype(np.int32) - before.astype(np.int32)
    return np.clip(128 + MAGNIFICATION * change, 0, 255).astype(np.uint8)


def counts(top_k: Pixels) -> dict[str, int]:
    """Return the numbers of top pixels kept, lost and gained.

    Args:
        top_k: (H, W, 3) uint8. A tile of codes.
    """
    return {mark: int((top_k[..., 0] == TOP_K_CODES[mark]).sum()) for mark in MARK_COLORS}


def marks(top_k: Pixels, before: Pixels) -> Pixels:
    """Return dimmed images with marks for kept, lost and gained pixels.

    A kept pixel has a filled mark, a lost one a hollow mark, a gained one a cross.

    Args:
        top_k: (N, H, W, 3) uint8. Tiles of codes.
        before: (N, H, W, 3) uint8. The original images.
    Returns:
        (N, H * cell, W * cell, 3) uint8.
    """
    codes, cell = top_k[..., 0], Layout(*top_k.shape[:3]).cell
    lightness = before.astype(np.float64) @ (0.299, 0.587, 0.114)
    canvas = _enlarged((lightness / 256 * _GREYS).astype(np.uint8), cell)
    for index, (mark, shape) in enumerate(_shapes(cell).items()):
        here = _enlarged(codes == TOP_K_CODES[mark], cell) & np.tile(shape, codes.shape[1:])
        canvas[here] = _GREYS + index
    palette = np.vstack([np.repeat(_SHADES[:, None], 3, axis=1), list(MARK_COLORS.values())]).astype(np.uint8)
    drawn: Pixels = palette[canvas]
    return drawn


def _shapes(cell: int) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the (cell, cell) shapes of the marks.

    A shape leaves one pixel free at the right and at the lower edge.
    """
    if cell == 1:
        return {mark: np.ones((1, 1), np.bool_) for mark in MARK_COLORS}
    row, column = np.indices((cell, cell))
    last, stroke = cell - 2, max(2, cell // 4)
    inside = (row <= last) & (column <= last)
    from_edge = np.minimum(np.minimum(row, column), np.minimum(last - row, last - column))
    diagonal = np.minimum(abs(row - column), abs(row + column - last))
    return {"kept": inside, "lost": inside & (from_edge < stroke), "gained": inside & (diagonal < stroke)}


def _enlarged(values: npt.NDArray[np.generic], factor: int) -> npt.NDArray[np.generic]:
    return values.repeat(factor, axis=-2).repeat(factor, axis=-1)
