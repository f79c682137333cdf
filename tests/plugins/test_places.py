"""Image sets with annotations, in small files and as they are stored."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench.core.compute import vision
from bench.core.contracts import Dataset
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.core.schemas.geometry import Geometry
from bench.core.storage.files import sha256_of
from bench.core.storage.folders import data_folder
from bench.data import cue_conflict, horses, imagenet_boxes
from bench.data._imagenet_classes import IMAGENET_CLASSES
from bench.data.cue_conflict import CueConflict
from bench.data.horses import Horses
from bench.data.imagenet_boxes import ImagenetBoxes
from tests.support.tables import write_table

SETS: tuple[type[Dataset], ...] = (ImagenetBoxes, Horses, CueConflict)
ROW = {
    "file": "images/ILSVRC2012_val_00000001.png",
    "class": "7",
    "original_width": "400",
    "original_height": "512",
    "original_xmin": "100",
    "original_ymin": "200",
    "original_xmax": "300",
    "original_ymax": "500",
}


def listed(row: dict[str, str]) -> str:
    return sha256_of(" ".join([Path(row["file"]).stem, *(row[name] for name in imagenet_boxes.COLUMNS)]).encode())


def test_a_box_moves_with_its_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Resize and cut an image that is black in its box only.

    It stays white outside.
    """
    write_table(folder / "imagenet-boxes" / "boxes.csv", ROW)
    pixels = np.full((512, 400, 3), 255, dtype=np.uint8)
    pixels[200:500, 100:300] = 0
    (folder / "imagenet-boxes" / "images").mkdir()
    Image.fromarray(pixels).save(folder / "imagenet-boxes" / ROW["file"])
    monkeypatch.setattr(imagenet_boxes, "LISTED", listed(ROW))
    split, (place,) = ImagenetBoxes().load("test"), ImagenetBoxes().annotations("test")
    assert split.labels.tolist() == [7]
    assert place.boxes is not None
    dark = (split.images[0].float().mean(0) < 128).nonzero()
    (top, left), (lower, right) = dark.amin(0).tolist(), (dark.amax(0) + 1).tolist()
    np.testing.assert_allclose(place.boxes[0], [left, top, right, lower], atol=1)
    assert place.boxes[0].tolist() == pytest.approx([48, 200 * 327 / 512 - 52, 176, 224])


def test_other_boxes_and_labels_do_not_pass(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet_boxes, "LISTED", listed(ROW))
    path = folder / "imagenet-boxes" / "boxes.csv"
    for name in ("class", "original_xmax"):
        write_table(path, ROW | {name: "300" if name == "class" else "8"})
        with pytest.raises(IntegrityError, match=r"expected files, classes and boxes .*boxes.csv.*restore it"):
            ImagenetBoxes().annotations("test")
    write_table(path, ROW | {"class": ""})
    with pytest.raises(IntegrityError, match=r"expected a value of class in line 2 of .*boxes.csv"):
        ImagenetBoxes().load("test")
    write_table(path, ROW)
    with pytest.raises(IntegrityError, match=r"ILSVRC2012_val_00000001\.png"):
        ImagenetBoxes().load("test")


def test_a_mask_moves_with_its_image(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(folder / "horses" / "images.csv", {"file": "horse.png", "mask": "mask.png"})
    pixels = np.zeros((100, 150), dtype=np.uint8)
    pixels[20:80, 60:140] = 255
    for name in ("horse", "mask"):
        Image.fromarray(pixels).save(folder / "horses" / f"{name}.png")
    with pytest.raises(IntegrityError, match=r"expected masks in .*horses with the sha256"):
        Horses().annotations("test")
    enlarged = Image.fromarray(pixels).resize((336, 224), Image.Resampling.NEAREST).crop((56, 0, 280, 224))
    monkeypatch.setattr(horses, "MASKS", sha256_of((np.asarray(enlarged) >= 128).tobytes()))
    (place,) = Horses().annotations("test")
    assert place.mask is not None
    image = Horses().load("test").images[0, 0] >= 128
    assert (place.mask & image).sum() / (place.mask | image).sum() > 0.98
    assert Horses().load("test").labels.tolist() == [IMAGENET_CLASSES.index("sorrel")]


@pytest.mark.parametrize("kind", SETS)
def test_a_set_that_is_not_there_says_what_to_do(kind: type[Dataset], folder: Path) -> None:
    dataset = kind()
    assert not dataset.is_stored()
    for ask in (dataset.load, dataset.annotations):
        with pytest.raises(
            EnvironmentFault, match=rf"expected the .*\.csv of .* in {folder}.* with --data or BENCH_DATA"
        ):
            ask("test")
        with pytest.raises(UsageError, match="has no training images"):
            ask("train")


@pytest.mark.parametrize("size", [(256, 341), (341, 256), (256, 256), (81, 100)])
@pytest.mark.parametrize("crop", [224, 160])
def test_a_placed_box_is_the_box_of_a_placed_mask(size: tuple[int, int], crop: int) -> None:
    geometry = Geometry(resize=(224, 224), crop=(crop, crop), interpolation="nearest", channels=1)
    height, width = size
    box = (width * 0.1, height * 0.3, width * 0.6, height * 0.9)
    found: Any = geometry.placed(box, height, width)
    (down, across), (top, left) = geometry.resized(height, width), geometry.corner(*geometry.resized(height, width))
    edges = [box[0] / width * across - left, box[1] / height * down - top]
    edges += [box[2] / width * across - left, box[3] / height * down - top]
    assert found == pytest.approx([min(max(edge, 0), crop) for edge in edges])


def test_a_box_outside_is_no_box() -> None:
    geometry = Geometry(resize=(100, 100), crop=(50, 50))
    assert geometry.placed((0, 0, 20, 20), 100, 100) is None
    assert geometry.placed((0, 0, 30, 100), 100, 100) == (0, 0, 5, 50)


def test_classes_are_torchvisions() -> None:
    offered = vision.models.get_model_weights("resnet18").DEFAULT
    assert tuple(offered.meta["categories"]) == IMAGENET_CLASSES


def test_an_image_has_the_categories_of_its_table(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"file": "bear1-knife2.png", "shape": "bear", "texture": "knife"}
    write_table(folder / "cue-conflict" / "images.csv", row)
    Image.fromarray(np.full((224, 224, 3), 90, dtype=np.uint8)).save(folder / "cue-conflict" / row["file"])
    with pytest.raises(IntegrityError, match=r"expected files, shapes and textures .*images.csv.*restore it"):
        CueConflict().load("test")
    monkeypatch.setattr(cue_conflict, "LISTED", sha256_of(b"bear1-knife2 bear knife"))
    (place,) = CueConflict().annotations("test")
    assert place.cues is not None
    assert place.has("cues")
    assert not place.has("boxes")
    assert (place.cues.shape, place.cues.texture) == (1, 13)
    split = CueConflict().load("test")
    assert IMAGENET_CLASSES[int(split.labels[0])] == "brown bear"
    assert int(place.cues.groups[int(split.labels[0])]) == place.cues.shape


def stored(kind: type[Dataset]) -> Dataset:
    dataset = kind()
    if not dataset.is_stored():
        pytest.skip(f"{kind.__name__} is not in the data folder")
    return dataset


def test_the_stored_boxes_are_those_of_the_table() -> None:
    dataset = stored(ImagenetBoxes)
    split, places = dataset.load("test"), dataset.annotations("test")
    assert split.images.shape == (250, 3, 224, 224)
    assert len(set(split.labels.tolist())) == len(places) == 250
    with (data_folder() / "imagenet-boxes" / "boxes.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, place in zip(rows, places, strict=True):
        corner = imagenet_boxes.GEOMETRY.corner(int(row["height"]), int(row["width"]))
        edges = [float(row[name]) - corner[1 - i % 2] for i, name in enumerate(imagenet_boxes.BOX)]
        inside = [min(max(edge, 0), 224) for edge in edges]
        assert place.boxes is not None
        cut_off = inside[0] == inside[2] or inside[1] == inside[3]
        assert place.boxes.tolist() == ([] if cut_off else [pytest.approx(inside, abs=0.011)])


def test_the_stored_cues_are_every_pair_once() -> None:
    places = stored(CueConflict).annotations("test")
    pairs = {(place.cues.shape, place.cues.texture) for place in places if place.cues is not None}
    assert len(pairs) == len(places) == 16 * 15
    assert all(shape != texture for shape, texture in pairs)


def test_the_stored_horses_have_masks_of_some_size() -> None:
    dataset = stored(Horses)
    split, places = dataset.load("test"), dataset.annotations("test")
    assert split.images.shape == (328, 3, 224, 224)
    shares = [float(place.mask.double().mean()) for place in places if place.mask is not None]
    assert len(shares) == 328
    assert 0.01 < min(shares) < max(shares) < 0.9
