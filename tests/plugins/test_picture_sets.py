"""Image sets that are folders of pictures: Flowers and CUB."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from bench.core.compute import vision
from bench.core.errors import EnvironmentFault, IntegrityError
from bench.data.cub import Cub
from bench.data.flowers import Flowers


def picture(path: Path, color: tuple[int, int, int], size: tuple[int, int] = (60, 40), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).convert(mode).save(path)


@pytest.fixture
def flowers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write the six official files with two images per part.

    Image 2, of the training part, is half red, half blue.
    """
    place = folder / "flowers-102"
    for number in range(1, 7):
        picture(place / "jpg" / f"image_{number:05d}.jpg", (number * 30, 10, 20))
    half = Image.new("RGB", (60, 40), (255, 0, 0))
    half.paste((0, 0, 255), (30, 0, 60, 40))
    half.save(place / "jpg" / "image_00002.jpg", quality=100)
    savemat(place / "imagelabels.mat", {"labels": np.array([[77, 1, 2, 102, 5, 6]])})
    savemat(place / "setid.mat", {"trnid": [[2, 1]], "valid": [[4, 3]], "tstid": [[6, 5]]})
    monkeypatch.setattr(vision.datasets.Flowers102, "_check_integrity", lambda _: True)
    return place


def test_flowers_are_read_in_the_official_order_at_128_pixels(flowers: Path) -> None:
    assert Flowers().is_stored()
    train, test = Flowers().load("train"), Flowers().load("test")
    assert train.labels.tolist() == [0, 76, 101, 1]
    assert test.labels.tolist() == [5, 4]
    assert train.images.shape == (4, 3, 128, 128)
    assert train.images.dtype == torch.uint8
    assert [int(image[0].float().mean().round()) for image in test.images] == pytest.approx([180, 150], abs=3)
    red, blue = train.images[0, 0], train.images[0, 2]
    assert int(red[:, :60].min()) > 240 > 15 > int(blue[:, :60].max())
    assert int(blue[:, 68:].min()) > 240 > 15 > int(red[:, 68:].max())


def test_a_flower_that_is_missing_or_damaged_is_named(flowers: Path) -> None:
    (flowers / "jpg" / "image_00005.jpg").write_bytes(b"no image")
    with pytest.raises(IntegrityError, match=r"image_00005\.jpg.*restore"):
        Flowers().load("test")
    (flowers / "jpg" / "image_00003.jpg").unlink()
    with pytest.raises(IntegrityError, match=r"image_00003\.jpg"):
        Flowers().load("train")


@pytest.fixture
def cub(folder: Path) -> Path:
    """Write four birds.

    The second is grey. The third has a white frame, which the cut to the centre removes.
    """
    place = folder / "CUB_200_2011"
    names = ["001.A/a.jpg", "001.A/b.jpg", "200.B/c.png", "002.C/d.jpg"]
    for number, name in enumerate(names):
        picture(place / "images" / name, (50 * number, 90, 130), mode="L" if number == 1 else "RGB")
    framed = Image.new("RGB", (256, 256), "white")
    framed.paste((10, 20, 30), (16, 16, 240, 240))
    framed.save(place / "images" / names[2])
    lines: dict[str, Sequence[object]] = {
        "images": names,
        "image_class_labels": [1, 1, 200, 2],
        "train_test_split": [1, 0, 1, 0],
    }
    for name, words in lines.items():
        (place / f"{name}.txt").write_text("".join(f"{i + 1} {word}\n" for i, word in enumerate(words)))
    return place


def test_cub_is_read_by_its_lists_and_cut_to_the_centre(cub: Path) -> None:
    assert Cub().is_stored()
    train, test = Cub().load("train"), Cub().load("test")
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 199], [0, 1])
    assert train.images.shape == test.images.shape == (2, 3, 224, 224)
    assert train.images[1].flatten(1).T.unique(dim=0).tolist() == [[10, 20, 30]]
    assert torch.equal(test.images[0, 0], test.images[0, 2]), "a grey image has three equal channels"


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("image_class_labels", "1 1\n2 1\n", "class number for each image"),
        ("image_class_labels", "1 1\n2 1\n3 one\n4 2\n", "class number for each image"),
        ("image_class_labels", "1 1\n2 1\n3 201\n4 2\n", "classes 1 to 200"),
        ("images", "1\n", "lines of a number and a word"),
        ("images", "1 001.A/a.jpg\n3 200.B/absent.png\n", r"absent\.png"),
    ],
)
def test_damaged_lists_of_cub_are_an_integrity_error(cub: Path, name: str, content: str, complaint: str) -> None:
    (cub / f"{name}.txt").write_text(content)
    with pytest.raises(IntegrityError, match=f"{complaint}.*restore"):
        Cub().load("train")


def test_cub_that_is_nowhere_says_where_it_is_looked_for(folder: Path) -> None:
    assert not Cub().is_stored()
    with pytest.raises(EnvironmentFault, match=r"CUB_200_2011.*BENCH_DATA") as caught:
        Cub().load("test")
    assert str(folder) in str(caught.value)
