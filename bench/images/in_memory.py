"""Gathers images and labels from tensors, data sets, loaders and folders.

They become 8-bit pixels, as a protocol pins them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.core.contracts import Split
from bench.core.errors import IntegrityError, UsageError, suggestion
from bench.images.files import find

LARGEST = 255
PIXELS = "hand in pixels in [0, 1] as floats, or 0 to 255 as uint8"
KEYS = {"image": ("image", "images", "pixel_values", "img"), "label": ("label", "labels", "target", "targets")}
"""Names under which items that are dictionaries hold image and label."""

Images = Tensor | np.ndarray | Dataset[Any] | Iterable[Any] | str | Path
Labels = Tensor | np.ndarray | Sequence[int] | Sequence[str] | None
Transform = Callable[[Any], Any] | None


class Gathered(NamedTuple):
    """8-bit images with their labels, and the classes where they are known."""

    split: Split
    classes: tuple[str, ...]


def gather(
    images: Images,
    labels: Labels = None,
    *,
    transform: Transform = None,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
) -> Gathered:
    """Return the first images with their labels.

    Args:
        images: (N, C, H, W) as a tensor or array; a data set or loader of images, with labels or without; or the path
            of a folder or table, whose pictures `transform` makes tensors of.
        labels: one per image, where `images` has none: numbers, or names of `classes`.
        transform: from a picture or (C, H, W) tensor to a (C, H, W) tensor of pixels in [0, 1].
        classes: names in the order of the network's outputs; default: the data set's own, if it has any.
        limit: the number of images; default: all.
    Raises:
        UsageError: if the pixels have another range, type or shape than networks take, or labels are missing.
    """
    names = tuple(classes if classes is not None else getattr(getattr(images, "dataset", images), "classes", ()) or ())
    found: list[Tensor] = []
    told: list[Any] = []
    for image, label in islice(_items(images, transform), limit):
        pixels = as_bytes(_as_tensor(image if transform is None else transform(image)))
        if found and pixels.shape != found[0].shape:
            sizes = f"{tuple(found[0].shape)} and {tuple(pixels.shape)}"
            raise UsageError(f"expected images of one size, got {sizes}; make them equal with transform=")
        found.append(pixels)
        told.append(label)
    if not found:
        raise UsageError("expected images, got none; hand in at least one")
    if isinstance(images, str | Path) and not names:
        names = tuple(sorted(set(map(str, told))))
    return Gathered(Split(torch.stack(found), _numbered(told, labels, names, limit)), names)


def as_bytes(image: Tensor) -> Tensor:
    """(C, H, W) uint8: the pixels of an image.

    Floats are rounded to 8 bits.

    Raises:
        UsageError: if they are no floats in [0, 1] and not uint8, or the shape is another.
    """
    if image.dim() != 3 or image.shape[0] not in {1, 3}:
        last = image.dim() == 3 and image.shape[-1] in {1, 3}
        remedy = "put the channels first: permute" if last else "1 channel is grey, 3 are red, green and blue"
        raise UsageError(f"expected images of (1 or 3, H, W), got {tuple(image.shape)}; {remedy}")
    if image.dtype == torch.uint8:
        return image.detach().cpu().contiguous()
    if not image.is_floating_point():
        raise UsageError(f"expected float or uint8 pixels, got {image.dtype}; {PIXELS}")
    pixels = image.detach().cpu().double()
    low, high = float(pixels.min()), float(pixels.max())
    if not np.isfinite([low, high]).all():
        raise UsageError("expected finite pixels, got NaN or infinity; look at transform= or the images")
    if low < 0:
        raise UsageError(
            f"expected pixels in [0, 1], got {low:.2f} to {high:.2f}, which look normalised; take Normalize out of the "
            "transform, and give its numbers as mean= and std="
        )
    if high > 1:
        remedy = "divide them by 255, or hand them in as uint8" if high <= LARGEST else PIXELS
        raise UsageError(f"expected pixels in [0, 1], got {low:.2f} to {high:.2f}; {remedy}")
    return (pixels * LARGEST).round().to(torch.uint8)


def _items(images: Images, transform: Transform) -> Iterator[tuple[Any, Any]]:
    """Yield images with their labels, None where they have none."""
    if isinstance(images, str | Path):
        yield from _pictures(Path(images), transform)
    elif isinstance(images, Tensor | np.ndarray):
        if images.ndim != 4:
            raise UsageError(f"expected images of (N, C, H, W), got {tuple(images.shape)}; one image is images[None]")
        yield from ((image, None) for image in images)
    elif isinstance(images, DataLoader):
        for batch in images:
            many, labels = _parts(batch)
            known = labels if labels is not None else [None] * len(many)
            yield from zip(many, known, strict=True)
    elif hasattr(images, "__getitem__") and hasattr(images, "__len__"):
        items: Any = images
        yield from (_parts(items[index]) for index in range(len(items)))  # a data set need not stop by itself
    elif isinstance(images, Iterable):
        yield from map(_parts, images)
    else:
        raise UsageError(
            f"expected images as a tensor, a data set, a DataLoader or the path of a folder, got "
            f"{type(images).__name__}; hand in one of these"
        )


def _pictures(place: Path, transform: Transform) -> Iterator[tuple[Image.Image, str]]:
    """Yield upright RGB pictures with their labels."""
    if transform is None:
        raise UsageError(
            f"expected transform= for the pictures in {place}, got none; give the one of the network's evaluation, "
            "without Normalize, or use `bench run --images`"
        )
    found = find(place)
    for file, label in found.files:
        try:
            with Image.open(found.root / file) as picture:
                upright = ImageOps.exif_transpose(picture).convert("RGB")
        except Exception as error:  # damaged files make Pillow's readers fail in many ways
            raise IntegrityError(f"expected an image in {found.root / file}, got: {error}; restore it") from error
        yield upright, label


def _parts(item: Any) -> tuple[Any, Any]:
    """Return image and label of an item or batch.

    The label is None where it has none.
    """
    if isinstance(item, Mapping):
        image, label = (next((item[key] for key in KEYS[kind] if key in item), None) for kind in ("image", "label"))
        if image is None:
            raise UsageError(f"expected items with an image, got the keys {', '.join(map(str, item))}; call it image")
        return image, label
    if isinstance(item, tuple | list):
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _as_tensor(image: Any) -> Tensor:
    """Return a picture, array or tensor as a tensor, channels first."""
    if isinstance(image, Tensor):
        return image
    if isinstance(image, Image.Image):
        pixels = np.array(image if image.mode in {"L", "RGB"} else image.convert("RGB"))
        return torch.from_numpy(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1).copy())
    if isinstance(image, np.ndarray):
        return torch.from_numpy(np.ascontiguousarray(image))
    raise UsageError(f"expected tensors, arrays or pictures as images, got {type(image).__name__}; add transform=")


def _numbered(told: Sequence[Any], labels: Labels, names: Sequence[str], limit: int | None) -> Tensor:
    """(N,) int64: the numbers of the labels."""
    given: Sequence[Any] = told
    if labels is not None:
        given = labels.tolist() if isinstance(labels, Tensor | np.ndarray) else list(labels)
        if len(given) != len(told) and (limit is None or len(given) < len(told)):
            raise UsageError(f"expected one label per image, {len(told)}, got {len(given)}; hand in as many")
        given = given[: len(told)]
    if any(label is None for label in given):
        raise UsageError("expected labels, got images alone; hand in labels=, or a data set of images with labels")
    return torch.tensor([_number(label, names) for label in given], dtype=torch.int64)


def _number(label: Any, names: Sequence[str]) -> int:
    if isinstance(label, str):
        if label not in names:
            known = suggestion(label, names) or "hand in their names as classes=, in the order of the outputs"
            raise UsageError(f"expected labels of the classes, got {label!r}; {known}")
        return list(names).index(label)
    try:
        number = float(label)
    except (TypeError, ValueError):
        raise UsageError(
            f"expected one class number per image, got {label!r}; of one-hot labels hand in labels.argmax(1)"
        ) from None
    if number != int(number) or number < 0:
        raise UsageError(f"expected class numbers from 0 on, got {label!r}; correct the labels")
    return int(number)
