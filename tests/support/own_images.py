"""A folder of drawn images, and a network for them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from model_zoo.tensors import export_weights
from tests.support.tiny import residual_content, tiny_network, write_entry, write_protocol

LABELS = ("circle", "square", "triangle")


def draw(path: Path, seed: int, size: tuple[int, int] = (16, 16)) -> Path:
    """Write a picture of noise, another one for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def folder_of_images(root: Path, each: int = 3) -> Path:
    """Write class folders with `each` pictures."""
    for number, label in enumerate(LABELS):
        for index in range(each):
            draw(root / label / f"{index}.png", 100 * number + index, (16 + index, 20))
    return root


def own_network(folder: Path, name: str = "own", **changes: object) -> Path:
    """Write the entry of an untrained network of three classes.

    Its images have 16x16 pixels.
    """
    content = residual_content(folder, name)
    weights = export_weights(tiny_network(num_classes=3), folder / f"{name}.safetensors")
    content |= {
        "weights": weights.model_dump(exclude_none=True),
        "dataset": "shapes",
        "num_classes": 3,
        "classes": list(LABELS),
        "geometry": {"resize": [18, 18], "crop": [16, 16]},
    }
    content |= changes
    return write_entry(folder, {key: value for key, value in content.items() if value is not None})


def likeness(folder: Path) -> Path:
    """Write a short protocol of 32x32 pixels."""
    return write_protocol(folder, "short", 4, 2)
