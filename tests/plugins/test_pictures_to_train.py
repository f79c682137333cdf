"""Image sets with a table and training images: small and stored ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.core.contracts import Dataset
from bench.core.errors import EnvironmentFault, IntegrityError
from bench.core.storage.files import sha256_of
from bench.data import flowers17, tiny_imagenet_10
from bench.data.flowers17 import Flowers17
from bench.data.tiny_imagenet_10 import TinyImagenet10
from tests.support.tables import write_table

SIZES: dict[type[Dataset], tuple[int, int, int]] = {TinyImagenet10: (3000, 500, 64), Flowers17: (1224, 136, 128)}
"""Training images, test images and side."""
BOXED = {"file": "val/a.png", "split": "val", "class": "7", "xmin": "4", "ymin": "10", "xmax": "39", "ymax": "63"}


def lines(*rows: str) -> str:
    return sha256_of("\n".join(rows).encode())


@pytest.fixture
def boxed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a test image, black in its box.

    The training image of the other row is missing.
    """
    place = folder / "tiny-imagenet-10"
    write_table(place / "boxes.csv", BOXED | {"file": "train/b.png", "split": "train", "class": "3"}, BOXED)
    pixels = np.full((64, 64, 3), 255, dtype=np.uint8)
    pixels[10:64, 4:40] = 0
    (place / "val").mkdir()
    Image.fromarray(pixels).save(place / "val" / "a.png")
    listed = {"test": lines("a 7 4 10 39 63"), "train": lines("b 3 4 10 39 63")}
    monkeypatch.setattr(tiny_imagenet_10, "LISTED", listed)
    return place


def test_a_box_covers_the_pixels_that_it_names(boxed: Path) -> None:
    assert boxed.is_dir()
    split, (place,) = TinyImagenet10().load("test"), TinyImagenet10().annotations("test")
    assert split.labels.tolist() == [7]
    assert place.boxes is not None
    assert place.boxes.tolist() == [[4, 10, 40, 64]]
    left, top, right, lower = (int(edge) for edge in place.boxes[0])
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[top:lower, left:right] = True
    assert torch.equal(split.images[0, 0] == 0, inside)
    (other,) = TinyImagenet10().annotations("train")
    assert other.boxes is not None


def test_other_boxes_and_a_missing_image_are_refused(boxed: Path) -> None:
    with pytest.raises(IntegrityError, match=r"train.b\.png"):
        TinyImagenet10().load("train")
    write_table(boxed / "boxes.csv", BOXED | {"xmax": "40"})
    with pytest.raises(IntegrityError, match=r"expected files, classes and boxes .*boxes\.csv.*restore it"):
        TinyImagenet10().annotations("test")


def test_flowers_are_split_as_their_table_says(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = folder / "flowers17"
    rows = [{"file": f"{n}.png", "split": ("train", "test")[n % 2], "class": str(n)} for n in range(4)]
    write_table(place / "labels.csv", *rows)
    for n in range(4):
        Image.new("RGB", (200, 160), (50 * n, 0, 0)).save(place / f"{n}.png")
    monkeypatch.setattr(flowers17, "LISTED", {"train": lines("0 0", "2 2"), "test": lines("1 1", "3 3")})
    train, test = Flowers17().load("train"), Flowers17().load("test")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 2], [1, 3])
    assert test.images.shape == (2, 3, 128, 128)
    assert train.images[:, 0].float().mean((1, 2)).tolist() == [0, 100]
    write_table(place / "labels.csv", *(row | {"split": "test"} for row in rows))
    with pytest.raises(IntegrityError, match=r"expected files and classes .*labels\.csv.*restore it"):
        Flowers17().load("test")


@pytest.mark.parametrize("kind", SIZES)
def test_a_set_that_is_not_there_says_what_to_do(kind: type[Dataset], folder: Path) -> None:
    assert not kind().is_stored()
    for split in ("train", "test"):
        with pytest.raises(EnvironmentFault, match=rf"expected the .*\.csv of .* in {folder}.* BENCH_DATA"):
            kind().load(split)


@pytest.mark.parametrize("kind", SIZES)
def test_the_stored_set_is_balanced_and_normalised(kind: type[Dataset]) -> None:
    dataset, (training, testing, side) = kind(), SIZES[kind]
    if not dataset.is_stored():
        pytest.skip(f"{kind.__name__} is not in the data folder")
    train, test = dataset.load("train"), dataset.load("test")
    classes = len(kind.classes)
    assert train.images.shape == (training, 3, side, side)
    assert test.images.shape == (testing, 3, side, side)
    assert train.labels.bincount().tolist() == [training // classes] * classes
    assert test.labels.bincount().tolist() == [testing // classes] * classes
    pixels = train.images[..., ::2, ::2].float() / 255
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor(kind.mean), atol=0.005, rtol=0)
    torch.testing.assert_close(pixels.std((0, 2, 3)), torch.tensor(kind.std), atol=0.005, rtol=0)
