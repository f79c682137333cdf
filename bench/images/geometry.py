"""Finds out how a network wants pictures resized and cut."""

from __future__ import annotations

import re
from dataclasses import asdict
from math import floor
from typing import Any

from pydantic import ValidationError

from bench import registry
from bench.core.contracts import Dataset
from bench.core.errors import BenchError, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.geometry import LARGEST_SIDE, Geometry
from bench.core.storage.toml import explain

_SIZE = re.compile(r"(?:(\d{1,5})(?:x(\d{1,5}))?:)?(\d{1,5})(?:x(\d{1,5}))?", re.ASCII)


def read_size(text: str, channels: int, interpolation: str = "bilinear") -> Geometry:
    """Return the geometry of a size in words.

    It is SIDE, HEIGHTxWIDTH, or RESIZE:CROP with either in both places: 224, 28x28, 256:224. The picture is resized
    until it covers the first size, and its centre of the second size is cut out.

    Raises:
        UsageError: if it is written in another way, or cuts out more than there is.
    """
    if (parts := _SIZE.fullmatch(text.strip().lower())) is None:
        raise UsageError(f"expected --size SIDE, HEIGHTxWIDTH or RESIZE:CROP, such as 224 or 256:224, got {text!r}")
    high, wide, height, width = parts.groups()
    crop = int(height), int(width or height)
    resize = (int(high), int(wide or high)) if high else crop
    if not all(1 <= side <= LARGEST_SIDE for side in (*crop, *resize)):
        raise UsageError(f"expected --size with sides of 1 to {LARGEST_SIDE} pixels, got {text!r}")
    return _checked({"resize": resize, "crop": crop, "interpolation": interpolation, "channels": channels}, "--size")


def geometry_of(entry: ModelEntry, size: str | None = None) -> Geometry:
    """Return how a model wants its pictures.

    The first that says it counts: the size, the entry, the library of its architecture, the images of its data set.

    Raises:
        UsageError: if nothing says it.
    """
    channels = len(entry.mean)
    if channels not in {1, 3}:
        raise UsageError(f"expected a network of grey or RGB images, got one of {channels} channels: {entry.name}")
    own = entry.geometry or _of_library(entry) or geometry_for(entry.dataset)
    if size is not None:
        return read_size(size, channels, "bilinear" if own is None else own.interpolation)
    if own is None:
        raise UsageError(
            f"expected a size of the images for {entry.name}, whose entry says none, got none; add --size, such as "
            "--size 224 or --size 256:224 (resized, then cut)"
        )
    if own.channels != channels:
        return own.model_copy(update={"channels": channels})
    return own


def _of_library(entry: ModelEntry) -> Geometry | None:
    """Return what timm or torchvision says of an architecture, or None."""
    name, model = entry.architecture.name, entry.architecture.params.get("model")
    if not isinstance(model, str) or name not in {"timm", "torchvision"}:
        return None
    try:
        return of_timm(model) if name == "timm" else of_torchvision(model)
    except (BenchError, RuntimeError, ValueError, KeyError):  # without the library, or without published weights
        return None


def of_torchvision(model: str) -> Geometry:
    """Return the geometry of torchvision's recommended weights of a model."""
    from bench.core.compute.vision import models

    seen: Any = models.get_model_weights(model)["DEFAULT"].transforms()
    resize, crop = (_pair(each[0] if len(each) == 1 else each) for each in (seen.resize_size, seen.crop_size))
    return _checked({"resize": resize, "crop": crop, "interpolation": seen.interpolation.value}, model)


def of_timm(model: str) -> Geometry | None:
    """Return the geometry of timm's weights of a model.

    It is None if the geometry is unusual.
    """
    from bench.core.compute import vision  # noqa: F401 - timm imports torchvision
    from model_zoo.extras import extra

    with extra("timm"):
        import timm
    config = timm.get_pretrained_cfg(model)
    return None if config is None else of_timm_config(asdict(config))


def of_timm_config(config: dict[str, Any]) -> Geometry | None:
    """Return the geometry of a pretrained configuration of timm.

    It is None if the picture is put in a frame, which no geometry says.
    """
    mode, share = config.get("crop_mode") or "center", config.get("crop_pct") or 0.875
    if mode not in {"center", "squash"}:
        return None
    crop = tuple(config["input_size"][1:])
    interpolation = config.get("interpolation") or "bilinear"
    content = {
        "resize": tuple(floor(side / share) for side in crop),
        "fit": "stretch" if mode == "squash" else "cover",
        "crop": crop,
        "interpolation": "bilinear" if interpolation == "random" else interpolation,
    }
    return _checked(content, "timm")


def geometry_for(dataset: str) -> Geometry | None:
    """Return the geometry of a registered data set, or None."""
    if dataset not in registry.names("datasets"):
        return None
    own: type[Dataset] = registry.load("datasets", dataset)
    if own.geometry is not None or own.shape is None:
        return own.geometry
    return _checked({"resize": own.shape[1:], "crop": own.shape[1:], "channels": own.shape[0]}, dataset)


def _pair(side: Any) -> tuple[int, int]:
    return (side, side) if isinstance(side, int) else tuple(side)


def _checked(content: dict[str, Any], whose: str) -> Geometry:
    try:
        return Geometry.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"{whose}: {explain(error)}") from None
