"""Reads and writes the showcase pictures of runs.

They are a PNG beside each record, or one lossless sheet for a model under a protocol.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import Field, ValidationError

from bench.core.errors import IntegrityError
from bench.core.schemas.protocol import Sha256
from bench.core.schemas.records import SHOWCASE_TILES
from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json, sha256_of, write_atomic

Pixels = npt.NDArray[np.uint8]

SHEET, INDEX = "showcase.webp", "showcase.json"
GRID = 16
"""Tiles in a row of a sheet."""


class Index(Strict):
    """The positions of the runs' tiles on a sheet, in `showcase.json`."""

    sha256: Sha256 | None = None
    """SHA-256 of `showcase.webp`; None if no picture of the folder was kept."""
    tile: tuple[int, int] = Field(default=(1, 1), description="height and width of a tile, in pixels")
    runs: dict[str, tuple[tuple[int, ...], ...] | None]
    """By run id: the tile numbers per image, in the order of `SHOWCASE_TILES`; None if they were not kept."""


def decode(content: bytes, path: Path) -> Pixels:
    """Return a picture file's (H, W, 3) uint8 pixels.

    Raises:
        IntegrityError: if it is not a picture, or too large.
    """
    try:
        pixels: Pixels = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError) as error:
        raise IntegrityError(f"expected a picture in {path}, got: {error}; restore it") from error
    return pixels


def packed(folder: Path, run_id: str, images: int) -> tuple[bool, Pixels | None]:
    """Look up a run's pictures on the sheet of its folder.

    Args:
        folder: the folder of a model under a protocol.
        run_id: the run.
        images: the number of images in the record's showcase.
    Returns:
        Whether the folder's index names the run, and its (images * H, 5 W, 3) pixels, or None if they were not kept.
    Raises:
        IntegrityError: if the index or the sheet is damaged, or does not fit the record.
    """
    index = read_index(folder)
    if index is None or run_id not in index.runs:
        return False, None
    if (places := index.runs[run_id]) is None:
        return True, None
    tiles = _tiles(folder / SHEET, index)
    right = len(places) == images and all(len(row) == len(SHOWCASE_TILES) for row in places)
    if not right or not all(0 <= number < len(tiles) for row in places for number in row):
        raise IntegrityError(
            f"expected {images} images of {len(SHOWCASE_TILES)} tiles for {run_id[:12]} in {folder / INDEX}, got "
            "others; restore it"
        )
    return True, np.concatenate([np.concatenate([tiles[number] for number in row], axis=1) for row in places])


def read_index(folder: Path) -> Index | None:
    """Return a folder's index of pictures, or None.

    Raises:
        IntegrityError: if the file is not such an index.
    """
    path = folder / INDEX
    if not path.exists():
        return None
    try:
        return Index.model_validate_json(path.read_bytes())
    except (ValidationError, UnicodeDecodeError) as error:
        raise IntegrityError(f"expected an index of pictures in {path}, got: {_first(error)}; restore it") from None


def write_sheet(folder: Path, pictures: Mapping[str, Pixels | None], images: Mapping[str, int]) -> None:
    """Write the pictures of a folder's runs as one lossless sheet.

    An index is written, too. Equal tiles are stored once. Without pictures there is no sheet.

    Args:
        folder: the folder of a model under a protocol.
        pictures: (images * H, 5 W, 3) pixels by run id; None for a run whose pictures are not kept.
        images: the number of images by run id.
    """
    numbers: dict[bytes, int] = {}
    tiles: list[Pixels] = []
    places: dict[str, list[list[int]] | None] = {}
    for run_id, pixels in sorted(pictures.items()):
        rows = None if pixels is None else _cut(pixels, images[run_id])
        places[run_id] = None if rows is None else [[_number(tile, numbers, tiles) for tile in row] for row in rows]
    content = _sheet(tiles) if tiles else None
    if content is not None:
        write_atomic(folder / SHEET, content)
    index: dict[str, object] = {"sha256": None if content is None else sha256_of(content), "runs": places}
    if tiles:
        index["tile"] = list(tiles[0].shape[:2])
    write_atomic(folder / INDEX, canonical_json(json.loads(json.dumps(index))).encode() + b"\n")
    if content is None:
        (folder / SHEET).unlink(missing_ok=True)


def _cut(pixels: Pixels, images: int) -> list[list[Pixels]]:
    height, width = pixels.shape[0] // images, pixels.shape[1] // len(SHOWCASE_TILES)
    return [
        [pixels[i * height : (i + 1) * height, j * width : (j + 1) * width] for j in range(len(SHOWCASE_TILES))]
        for i in range(images)
    ]


def _number(tile: Pixels, numbers: dict[bytes, int], tiles: list[Pixels]) -> int:
    number = numbers.setdefault(tile.tobytes(), len(tiles))
    if number == len(tiles):
        tiles.append(tile)
    return number


def _sheet(tiles: list[Pixels]) -> bytes:
    height, width, _ = tiles[0].shape
    canvas = np.zeros((-(-len(tiles) // GRID) * height, GRID * width, 3), np.uint8)
    for number, tile in enumerate(tiles):
        y, x = divmod(number, GRID)
        canvas[y * height : (y + 1) * height, x * width : (x + 1) * width] = tile
    out = io.BytesIO()
    Image.fromarray(canvas).save(out, format="WEBP", lossless=True, quality=90, method=6)
    return out.getvalue()


def _tiles(path: Path, index: Index) -> list[Pixels]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError(f"expected the sheet {path} beside {INDEX}, got no file; restore it") from None
    if (actual := sha256_of(content)) != index.sha256:
        raise IntegrityError(f"expected {path} as {INDEX} has it, got the sha256 {actual[:12]}…; restore both")
    return _split(content, path, index.tile)


@lru_cache(maxsize=4)
def _split(content: bytes, path: Path, tile: tuple[int, int]) -> list[Pixels]:
    """Return a sheet's tiles in the order of their numbers.

    Cached, because the runs of a folder are read one after the other.
    """
    sheet, (height, width) = decode(content, path), tile
    if height < 1 or width < 1 or sheet.shape[0] % height or sheet.shape[1] != GRID * width:
        raise IntegrityError(f"expected rows of {GRID} tiles of {height}x{width} in {path}, got others; restore it")
    rows = sheet.reshape(-1, height, GRID, width, 3).swapaxes(1, 2)
    return list(rows.reshape(-1, height, width, 3))


def _first(error: ValidationError | UnicodeDecodeError) -> str:
    return error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
