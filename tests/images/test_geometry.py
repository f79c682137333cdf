"""Where the size of a network's images comes from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from bench.core.compute import vision
from bench.core.errors import UsageError
from bench.core.schemas.geometry import Geometry
from bench.images.geometry import geometry_of, of_timm_config, of_torchvision, read_size
from tests.support.factories import model_entry

UNKNOWN: dict[str, Any] = {"dataset": "shapes", "architecture": {"name": "resnet-basic"}}


@pytest.mark.parametrize(
    ("text", "resize", "crop"),
    [
        ("224", (224, 224), (224, 224)),
        ("28x40", (28, 40), (28, 40)),
        ("256:224", (256, 256), (224, 224)),
        ("40x50:32x48", (40, 50), (32, 48)),
    ],
)
def test_a_size_is_written_in_words(text: str, resize: tuple[int, int], crop: tuple[int, int]) -> None:
    found = read_size(text, 3)
    assert (found.resize, found.crop, found.fit) == (resize, crop, "cover")


@pytest.mark.parametrize("text", ["", "big", "224px", "-3", "0", "224:256", "99999", "1x2x3"])
def test_another_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--size"):
        read_size(text, 3)


@pytest.mark.parametrize("text", ["0", "224:0", "8x0", "99999"])
def test_an_impossible_side_is_named_as_it_was_written(text: str) -> None:
    with pytest.raises(UsageError, match=rf"expected --size with sides of 1 to 4096 pixels, got '{text}'$"):
        read_size(text, 3)


def test_the_size_comes_from_the_words_then_the_entry_then_the_data_set() -> None:
    own = Geometry(resize=(40, 40), crop=(32, 32), interpolation="bicubic")
    entry = model_entry(**UNKNOWN, geometry=own)
    assert geometry_of(entry) == own
    assert geometry_of(entry, "28").interpolation == "bicubic"
    assert geometry_of(model_entry()).crop == (32, 32)
    with pytest.raises(UsageError, match="whose entry says none, got none; add --size"):
        geometry_of(model_entry(**UNKNOWN))
    grey = model_entry(**UNKNOWN, mean=(0.5,), std=(0.5,))
    assert geometry_of(grey, "28").shape == (1, 28, 28)


@pytest.mark.parametrize("model", ["resnet18", "vit_b_16", "efficientnet_b0", "inception_v3"])
def test_torchvisions_own_preprocessing_gives_the_same_pixels(model: str, tmp_path: Any) -> None:
    from bench.data._image_files import read_image

    noise = torch.randint(0, 256, (300, 411, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    Image.fromarray(noise.numpy()).save(path := tmp_path / "a.png")
    theirs = vision.models.get_model_weights(model)["DEFAULT"].transforms()
    theirs.mean, theirs.std = [0.0] * 3, [1.0] * 3
    ours = read_image(path, of_torchvision(model))
    assert (theirs(Image.open(path)) * 255 - ours).abs().max() < 0.01
    entry = model_entry(**UNKNOWN | {"architecture": {"name": "torchvision", "params": {"model": model}}})
    assert geometry_of(entry) == of_torchvision(model)


@pytest.mark.parametrize(
    ("config", "resize", "fit"),
    [
        ({"input_size": (3, 224, 224), "crop_pct": 0.875, "interpolation": "bicubic"}, (256, 256), "cover"),
        ({"input_size": (3, 224, 224), "crop_pct": 0.9, "interpolation": "bicubic"}, (248, 248), "cover"),
        ({"input_size": (3, 384, 384), "crop_pct": 1.0, "crop_mode": "squash"}, (384, 384), "stretch"),
    ],
)
def test_timms_configurations_are_read(config: dict[str, Any], resize: tuple[int, int], fit: str) -> None:
    found = of_timm_config(config)
    assert found is not None
    assert (found.resize, found.fit, found.crop) == (resize, fit, config["input_size"][1:])
    assert found.interpolation == config.get("interpolation", "bilinear")


def test_a_frame_around_the_picture_is_no_geometry() -> None:
    assert of_timm_config({"input_size": (3, 224, 224), "crop_pct": 1.0, "crop_mode": "border"}) is None
