"""Reads image files of any format as pixels of one size.

Everything is read by Pillow: the orientation of a camera is applied, colours become RGB or grey levels, and deeper
channels become 8 bits.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from bench.core.errors import IntegrityError
from bench.core.schemas.geometry import Geometry
from bench.core.storage.files import sha256_of

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

CHUNK = 64
"""Images that are decoded before they are handed on."""

DEEP = 65535
"""Largest value of a channel with 16 bits."""


def read_images(paths: Sequence[Path], geometry: Geometry) -> Tensor:
    """(N, C, H, W) uint8: the images of N files.

    Raises:
        IntegrityError: if a file is missing, empty, damaged, too large, or no image; the message names it.
    """
    images = torch.empty((len(paths), *geometry.shape), dtype=torch.uint8)
    start = 0
    for chunk in read_chunks(paths, geometry):
        images[start : start + len(chunk)] = chunk
        start += len(chunk)
    return images


def read_chunks(paths: Sequence[Path], geometry: Geometry, size: int = CHUNK) -> Iterator[Tensor]:
    """Yield the images of files in groups of at most `size`.

    A group is (n, C, H, W) uint8; only one group is in memory.

    Raises:
        IntegrityError: as `read_image` does.
    """
    for start in range(0, len(paths), size):
        yield torch.stack([read_image(path, geometry) for path in paths[start : start + size]])


def read_image(path: Path, geometry: Geometry) -> Tensor:
    """(C, H, W) uint8: the image of a file.

    An animation or a document of several pages gives its first picture. Transparent pixels become white.

    Raises:
        IntegrityError: if the file is missing, empty, damaged, too large, or no image; the message names it.
    """
    try:
        if path.stat().st_size == 0:
            raise IntegrityError(f"expected an image in {path}, got an empty file; restore or remove it")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning)  # remarks on metadata that pixels do not need
            with Image.open(path) as picture:
                return torch.from_numpy(_placed(_upright(picture), geometry))
    except IntegrityError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise IntegrityError(
            f"expected an image of at most {Image.MAX_IMAGE_PIXELS} pixels in {path}, got more; make it smaller"
        ) from None
    except UnidentifiedImageError:
        raise IntegrityError(
            f"expected an image in {path}, got what Pillow does not know; restore it, convert it to PNG, or remove it"
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # damaged files make Pillow's readers fail in many ways
        reason = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
        raise IntegrityError(f"expected a whole image in {path}, got: {reason}; restore or remove it") from error


def checksum(chunks: Iterable[Tensor]) -> str:
    """Return the SHA-256 of (n, C, H, W) uint8 groups of images.

    The bytes are hashed image by image; the size of the groups does not matter.
    """
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk.contiguous().numpy().tobytes())
    return digest.hexdigest()


def checksums(images: Tensor) -> list[str]:
    """Return the SHA-256 of each of (N, C, H, W) uint8 images."""
    return [sha256_of(image.contiguous().numpy().tobytes()) for image in images]


def _upright(picture: Image.Image) -> Image.Image:
    """Return a picture with the orientation that its camera noted."""
    picture.load()
    return ImageOps.exif_transpose(picture)


def _placed(picture: Image.Image, geometry: Geometry) -> Pixels:
    """(C, H, W) uint8: a picture, resized and cut to its centre."""
    plain = _plain(picture, "L" if geometry.channels == 1 else "RGB")
    height, width = geometry.resized(plain.height, plain.width)
    plain = plain.resize((width, height), Image.Resampling[geometry.interpolation.upper()])
    top, left = geometry.corner(height, width)
    pixels = np.asarray(plain.crop((left, top, left + geometry.crop[1], top + geometry.crop[0])), dtype=np.uint8)
    return np.ascontiguousarray(pixels.reshape(*geometry.crop, geometry.channels).transpose(2, 0, 1))


def _plain(picture: Image.Image, mode: str) -> Image.Image:
    """Return a picture with 8 bits per channel.

    `mode` is L or RGB.
    """
    if picture.mode.startswith(("I", "F")):
        picture = _shallow(picture)
    if picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info:
        colours = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
    return picture.convert(mode)


def _shallow(picture: Image.Image) -> Image.Image:
    """Return a deep picture with 8 bits per channel.

    Its values are 16 bits, or real numbers in [0, 1].
    """
    values = np.asarray(picture)
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise ValueError("real numbers outside [0, 1], whose range nothing tells; save it with 8 or 16 bits")
        return Image.fromarray(np.rint(values.astype(np.float64) * 255).astype(np.uint8))
    wide = values.astype(np.int64)
    if wide.min() < 0 or wide.max() > DEEP:
        raise ValueError("numbers outside 0 to 65535, whose range nothing tells; save it with 8 or 16 bits")
    return Image.fromarray(((2 * wide * 255 + DEEP) // (2 * DEEP)).astype(np.uint8))
