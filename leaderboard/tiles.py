"""Pixels of a strip: cutting a showcase PNG into tiles, and drawing tiles as small PNGs."""

from __future__ import annotations

import io
import struct

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.core.errors import IntegrityError
from bench.core.records import SHOWCASE_TILES, TOP_K_CODES
from bench.core.store import StoredRun
from leaderboard.colormap import INFERNO

Pixels = npt.NDArray[np.uint8]

MAGNIFICATION = 10
MARK_COLORS = {"kept": (255, 255, 255), "lost": (255, 150, 50), "gained": (70, 175, 255)}
"""Apart in hue and in lightness; each mark has its own shape too."""

_GREYS = 24
_SHADES = np.linspace(14, 108, _GREYS).round().astype(np.uint8)
"""Shades of the dimmed image under the marks; the marks' colours follow them in the palette."""


def cut(content: bytes, run: StoredRun) -> list[dict[str, Pixels]]:
    """Return, per showcase sample, its tiles by name, (H, W, 3) each.

    Raises:
        IntegrityError: if the PNG is damaged, or is not tiled as records are.
    """
    path, count, columns = run.showcase_path, len(run.record.showcase), len(SHOWCASE_TILES)
    try:
        sheet = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (OSError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise IntegrityError(f"expected a PNG in {path}, got: {error}; restore it") from error
    height, width, _ = sheet.shape
    if not count or height % count or width % columns:
        raise IntegrityError(f"expected {count} rows of {columns} equal tiles in {path}, got {width}x{height} pixels")
    sheet_rows = [np.split(row, columns, axis=1) for row in np.split(sheet, count)]
    tiles = [dict(zip(SHOWCASE_TILES, row, strict=True)) for row in sheet_rows]
    if not np.isin([row["top-k"] for row in tiles], list(TOP_K_CODES.values())).all():
        raise IntegrityError(f"expected only the codes {TOP_K_CODES} in the top-k tiles of {path}, got others")
    return tiles


def png(pixels: Pixels) -> bytes:
    """Encode (H, W, 3) colours."""
    return _encode(Image.fromarray(pixels))


def heatmap(grey: Pixels) -> bytes:
    """Encode an (H, W, 3) grey heatmap in the colours of inferno."""
    return _with_palette(grey[..., 0], INFERNO)


def magnified_perturbation(before: Pixels, after: Pixels) -> bytes:
    """Encode (H, W, 3) `after - before`, magnified about grey: what 8-bit pixels show of the perturbation."""
    change = after.astype(np.int32) - before.astype(np.int32)
    return png(np.clip(128 + MAGNIFICATION * change, 0, 255).astype(np.uint8))


def counts(top_k: Pixels) -> dict[str, int]:
    """Return how many of the most important pixels were kept, lost and gained, from an (H, W, 3) coded tile."""
    return {mark: int((top_k[..., 0] == TOP_K_CODES[mark]).sum()) for mark in MARK_COLORS}


def marks(top_k: Pixels, before: Pixels) -> bytes:
    """Encode an (H, W, 3) coded tile as marks over the dimmed image: kept filled, lost hollow, gained crossed."""
    codes = top_k[..., 0]
    cell = max(6, 256 // max(codes.shape))
    lightness = before.astype(np.float64) @ (0.299, 0.587, 0.114)
    canvas = _enlarged((lightness / 256 * _GREYS).astype(np.uint8), cell)
    for index, (mark, shape) in enumerate(_shapes(cell).items()):
        here = _enlarged(codes == TOP_K_CODES[mark], cell) & np.tile(shape, codes.shape)
        canvas[here] = _GREYS + index
    palette = np.vstack([np.repeat(_SHADES[:, None], 3, axis=1), list(MARK_COLORS.values())]).astype(np.uint8)
    return _with_palette(canvas, palette)


def _shapes(cell: int) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the (cell, cell) stamp of each mark, short of the cell's right and lower edge by one pixel."""
    row, column = np.indices((cell, cell))
    last, stroke = cell - 2, max(2, cell // 4)
    inside = (row <= last) & (column <= last)
    from_edge = np.minimum(np.minimum(row, column), np.minimum(last - row, last - column))
    diagonal = np.minimum(abs(row - column), abs(row + column - last))
    return {"kept": inside, "lost": inside & (from_edge < stroke), "gained": inside & (diagonal < stroke)}


def _enlarged(values: npt.NDArray[np.generic], factor: int) -> npt.NDArray[np.generic]:
    return values.repeat(factor, axis=0).repeat(factor, axis=1)


def _with_palette(indices: npt.NDArray[np.generic], palette: Pixels) -> bytes:
    image = Image.fromarray(indices.astype(np.uint8), mode="L").convert("P")
    image.putpalette(palette.tobytes())
    return _encode(image)


def _encode(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, format="PNG")
    return sink.getvalue()
