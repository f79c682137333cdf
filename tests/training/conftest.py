"""A recipe and a tiny image set of digits.

The training takes less than a second.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.core.schemas.recipe import Recipe
from bench.core.storage.toml import parse_toml

RECIPE = """
name = "tiny"
model = "tiny-cnn"
title = "Tiny"
description = "for tests"
differs = "everything"
dataset = "usps"
epochs = 6
batch_size = 10
architecture = { name = "small-cnn", params = { hidden = 32, side = 16 } }
objective = { name = "pgd", params = { epsilon = "1/20", step_size = "1/20", steps = 1 } }
schedule = { peak = 0.02 }
augmentation = { crop_padding = 0, flip = false }
validation = { images = 10, stop_at_accuracy = 0.9 }
"""


@pytest.fixture
def digits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    write_digits(tmp_path)


def write_digits(folder: Path) -> None:
    """Write 60 training and 30 test images of ten classes.

    A bright square's place tells them apart.
    """
    noise = np.random.default_rng(0)
    (folder / "usps").mkdir()
    for split, count in (("train", 60), ("test", 30)):
        labels = np.arange(count) % 10
        images = np.zeros((count, 16, 16, 1))
        for image, label in zip(images, labels, strict=True):
            image[label : label + 6, label : label + 6] = 200
        pixels = (images + noise.integers(0, 50, images.shape)).astype(np.uint8)
        np.savez(folder / "usps" / f"{split}.npz", images=pixels, labels=labels)


@pytest.fixture
def tiny_recipe(tmp_path: Path, digits: None) -> Recipe:
    (tmp_path / "tiny.toml").write_text(RECIPE)
    return parse_toml(tmp_path / "tiny.toml", Recipe, name="tiny")
