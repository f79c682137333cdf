"""Sources of image sets.

They are torchvision's official sources, archives of numpy arrays, and the foolbox wheel.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image

from bench.core.contracts import Split
from bench.core.errors import EnvironmentFault, IntegrityError

T = TypeVar("T")
WHEEL_COUNT = 20


def open_or_download(open_set: Callable[[bool], T], what: str, place: Path) -> T:
    """Return the image set from this machine or its official source.

    Raises:
        EnvironmentFault: if `what` is missing or damaged in `place` and cannot be downloaded.
    """
    try:
        return open_set(False)
    except RuntimeError:
        pass
    try:
        return open_set(True)
    except (OSError, RuntimeError) as error:
        raise EnvironmentFault(
            f"expected {what}, undamaged, in {place}, and could not download it ({error}); put it there, or name the "
            f"folder that holds {place.name} with --data or BENCH_DATA"
        ) from error


def read_archive(path: Path, shape: tuple[int, int, int]) -> Split:
    """Read images and labels from an .npz archive.

    The archive holds `images` (N, H, W, C) uint8 and `labels` (N,); `shape` is (C, H, W).

    Raises:
        IntegrityError: if the file is not such an archive.
    """
    channels, height, width = shape
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            images, labels = archive["images"], archive["labels"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise IntegrityError(f"expected arrays images and labels in {path}, got: {error}; restore the file") from error
    if images.dtype != np.uint8 or images.shape[1:] != (height, width, channels) or labels.shape != (len(images),):
        came = f"{images.dtype} {images.shape} and {labels.shape}"
        raise IntegrityError(
            f"expected uint8 (N, {height}, {width}, {channels}) images and (N,) labels in {path}, got {came}; "
            "restore the file"
        )
    return Split(torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels).long())


def wheel_images(stem: str, shape: tuple[int, int, int]) -> Split:
    """Return the 20 images of a set from the installed foolbox.

    The files are `foolbox/data/<stem>_<index>_<label>.png`; `shape` is (C, H, W).

    Raises:
        EnvironmentFault: if the distribution or one of its images is missing.
        IntegrityError: if a file is not an image of that size.
    """
    files = [wheel_file(stem, index) for index in range(WHEEL_COUNT)]
    images = np.stack([_pixels(path, shape) for path in files])
    return Split(torch.from_numpy(images), torch.tensor([int(path.stem.rsplit("_", 1)[1]) for path in files]))


def has_wheel(stem: str) -> bool:
    """Return whether the foolbox distribution and its images are installed."""
    try:
        return wheel_file(stem, 0).exists()
    except EnvironmentFault:
        return False


def wheel_file(stem: str, index: int) -> Path:
    """Return the path of one image of the foolbox distribution.

    It is found without an import of foolbox.
    """
    try:
        folder = Path(str(distribution("foolbox").locate_file("foolbox/data")))
    except PackageNotFoundError as error:
        raise EnvironmentFault("expected the package foolbox, got none; pip install foolbox") from error
    found = sorted(folder.glob(f"{stem}_{index:02d}_[0-9].png"))
    if len(found) != 1:
        raise EnvironmentFault(
            f"expected one file {stem}_{index:02d}_<label>.png in {folder}, got {len(found)}; "
            "reinstall foolbox from its wheel: pip install --force-reinstall --no-deps foolbox"
        )
    return found[0]


def _pixels(path: Path, shape: tuple[int, int, int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    channels, height, width = shape
    try:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    except OSError as error:
        raise IntegrityError(f"expected a PNG in {path}, got: {error}; reinstall foolbox") from error
    if pixels.shape[:2] != (height, width):
        raise IntegrityError(f"expected {height}x{width} pixels in {path}, got {pixels.shape[:2]}; reinstall foolbox")
    return np.ascontiguousarray(pixels.reshape(height, width, channels).transpose(2, 0, 1))


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read the rows of a CSV with a head.

    Raises:
        IntegrityError: if the file is no such table, or lacks a column or a value.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise IntegrityError(f"expected a table in {path}, got: {error}; restore it") from error
    for number, row in enumerate(rows, start=2):
        if missing := [name for name in columns if not row.get(name)]:
            raise IntegrityError(f"expected a value of {missing[0]} in line {number} of {path}, got none; restore it")
    return rows
