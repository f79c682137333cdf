"""Image files: pixels, place, and the errors of damaged files."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

from bench.core.compute import vision
from bench.core.compute.digests import alike, digests
from bench.core.errors import IntegrityError
from bench.core.schemas.geometry import Geometry
from bench.data._image_files import checksum, checksums, read_chunks, read_image, read_images
from bench.run.samples import checksum as checksum_of_all

WHOLE = Geometry(resize=(8, 8), crop=(8, 8))
GREY = Geometry(resize=(8, 8), crop=(8, 8), channels=1)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    values = np.random.default_rng(height * width).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return values if channels > 1 else values[..., 0]


def saved(folder: Path, picture: Image.Image, name: str, **how: Any) -> Path:
    picture.save(path := folder / name, **how)
    return path


@pytest.mark.parametrize("size", [(37, 61), (90, 40), (20, 20), (300, 31)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest", "lanczos"])
def test_resizing_the_shorter_side_and_cutting_agree_with_torchvision(
    tmp_path: Path, size: tuple[int, int], interpolation: str
) -> None:
    assert vision.models
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, PILToTensor, Resize

    path = saved(tmp_path, Image.fromarray(noise(*size)), "a.png")
    geometry = Geometry(resize=(32, 32), crop=(25, 28), interpolation=interpolation)
    theirs = Compose([Resize(32, InterpolationMode(interpolation)), CenterCrop((25, 28)), PILToTensor()])
    assert torch.equal(read_image(path, geometry), theirs(Image.open(path)))


@settings(max_examples=60, deadline=None)
@given(*[st.integers(1, 500)] * 4)
def test_a_picture_covers_what_is_cut_out(height: int, width: int, high: int, wide: int) -> None:
    resized = Geometry(resize=(high, wide), crop=(high, wide)).resized(height, width)
    assert resized[0] >= high
    assert resized[1] >= wide
    assert high == resized[0] or wide == resized[1]


def test_stretching_gives_the_exact_size(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(noise(30, 50)), "a.png")
    geometry = Geometry(resize=(28, 28), crop=(28, 28), fit="stretch", interpolation="bicubic")
    theirs = Image.open(path).resize((28, 28), Image.Resampling.BICUBIC)
    assert torch.equal(read_image(path, geometry), torch.from_numpy(np.asarray(theirs).copy()).permute(2, 0, 1))


def test_a_crop_larger_than_the_picture_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"crop: expected at most .* got 9x8 of 8x8"):
        Geometry(resize=(8, 8), crop=(9, 8))


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.gif", "a.webp", "a.ppm", "a.tga"])
def test_lossless_formats_give_the_same_pixels(tmp_path: Path, name: str) -> None:
    flat = np.zeros((8, 8, 3), dtype=np.uint8)
    flat[2:5, 3:6] = (200, 30, 90)
    how = {"lossless": True} if name.endswith("webp") else {}
    path = saved(tmp_path, Image.fromarray(flat), name, **how)
    assert torch.equal(read_image(path, WHOLE), torch.from_numpy(flat).permute(2, 0, 1))


def test_grey_pictures_become_rgb_and_colours_become_grey(tmp_path: Path) -> None:
    grey = noise(8, 8, 1)
    path = saved(tmp_path, Image.fromarray(grey), "grey.png")
    assert torch.equal(read_image(path, GREY)[0], torch.from_numpy(grey))
    assert torch.equal(read_image(path, WHOLE), torch.from_numpy(grey).expand(3, 8, 8))
    colours = saved(tmp_path, Image.fromarray(noise(8, 8)), "colours.png")
    assert torch.equal(read_image(colours, GREY)[0], torch.from_numpy(np.array(Image.open(colours).convert("L"))))


@pytest.mark.parametrize("name", ["deep.png", "deep.tiff", "deep.pgm"])
def test_16_bits_are_rounded_to_8(tmp_path: Path, name: str) -> None:
    deep = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    path = saved(tmp_path, Image.fromarray(deep), name)
    expected = np.rint(deep.astype(np.float64) / 257)
    assert np.array_equal(read_image(path, GREY)[0].numpy(), expected)


def test_real_numbers_must_lie_in_the_unit_range(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    path = saved(tmp_path, Image.fromarray(values), "real.tiff")
    assert np.array_equal(read_image(path, GREY)[0].numpy(), np.rint(values.astype(np.float64) * 255))
    with pytest.raises(IntegrityError, match=r"far\.tiff, got: real numbers outside \[0, 1\]"):
        read_image(saved(tmp_path, Image.fromarray(values * 300), "far.tiff"), GREY)


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    clear = noise(8, 8, 4)
    clear[..., 3] = 255
    clear[:4, :, 3] = 0
    pixels = read_image(saved(tmp_path, Image.fromarray(clear), "clear.png"), WHOLE)
    assert pixels[:, :4].eq(255).all()
    assert torch.equal(pixels[:, 4:], torch.from_numpy(clear[4:, :, :3].copy()).permute(2, 0, 1))
    indexed = Image.fromarray(noise(8, 8, 1)).convert("P")
    path = saved(tmp_path, indexed, "indexed.png", transparency=int(np.asarray(indexed)[0, 0]))
    assert read_image(path, WHOLE)[:, 0, 0].eq(255).all()


def test_the_note_of_a_camera_turns_the_picture(tmp_path: Path) -> None:
    upright = noise(8, 8)
    turned = Image.fromarray(np.rot90(upright, 1).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees, clockwise
    path = saved(tmp_path, turned, "photo.png", exif=exif)
    assert torch.equal(read_image(path, WHOLE), torch.from_numpy(upright).permute(2, 0, 1))


def test_print_colours_become_rgb(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "print.tiff")
    assert read_image(path, WHOLE)[:, 0, 0].tolist() == [0, 255, 255]


def damaged(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Contents of files, and what their errors say."""
    whole = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(whole, "JPEG")
    png = io.BytesIO()
    Image.fromarray(noise(64, 64)).save(png, "PNG")
    return {
        "empty.jpg": (b"", "got an empty file"),
        "words.jpg": (b"these are words", "got what Pillow does not know"),
        "half.jpg": (whole.getvalue()[:900], "truncated"),
        "half.png": (png.getvalue()[:900], "half.png"),
        "broken.png": (png.getvalue()[:60] + b"x" + png.getvalue()[61:], "broken.png"),
    }


@pytest.mark.parametrize("name", ["empty.jpg", "words.jpg", "half.jpg", "half.png", "broken.png"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    content, said = damaged(tmp_path)[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(IntegrityError, match=said) as caught:
        read_image(tmp_path / name, WHOLE)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(("name", "said"), [("none.png", "No such file"), (".", "Is a directory|does not know")])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(IntegrityError, match=said):
        read_image(tmp_path / name, WHOLE)


def test_a_picture_of_too_many_pixels_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.fromarray(noise(20, 20)), "large.png")
    for limit in (399, 150):  # Pillow warns above the limit, and fails above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(IntegrityError, match=rf"at most {limit} pixels in .*large\.png, got more"):
            read_image(path, WHOLE)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 255), st.sampled_from(["PNG", "GIF", "TIFF", "BMP", "WEBP", "JPEG"]))
def test_a_changed_byte_never_ends_in_a_foreign_error(
    tmp_path_factory: pytest.TempPathFactory, place: int, value: int, form: str
) -> None:
    buffer = io.BytesIO()
    Image.fromarray(noise(16, 16)).save(buffer, form)
    content = bytearray(buffer.getvalue())
    content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "changed"
    path.write_bytes(bytes(content))
    try:
        shape, said = read_image(path, WHOLE).shape, str(path)
    except IntegrityError as error:
        shape, said = torch.Size((3, 8, 8)), str(error)
    assert shape == (3, 8, 8)
    assert str(path) in said


def test_groups_of_files_give_the_same_pixels_and_checksum(tmp_path: Path) -> None:
    paths = [saved(tmp_path, Image.fromarray(noise(9 + i, 12)), f"{i}.png") for i in range(5)]
    images = read_images(paths, WHOLE)
    assert torch.equal(images, torch.stack([read_image(path, WHOLE) for path in paths]))
    assert [len(chunk) for chunk in read_chunks(paths, WHOLE, 2)] == [2, 2, 1]
    assert checksum(read_chunks(paths, WHOLE, 2)) == checksum_of_all(images) == checksum([images])
    assert checksums(images)[3] == checksum_of_all(images[3:4])
    assert read_images([], WHOLE).shape == (0, 3, 8, 8)


def test_digests_forgive_rounding_and_tell_images_apart(tmp_path: Path) -> None:
    paths = [saved(tmp_path, Image.fromarray(noise(32 + i, 32)), f"{i}.png") for i in range(4)]
    images = read_images(paths, Geometry(resize=(32, 32), crop=(30, 31)))
    found = digests(images)
    naive = images.double().unfold(2, 1, 1)[..., 0]
    rows, columns = torch.arange(30) * 4 // 30, torch.arange(31) * 4 // 31
    for row in range(4):
        for column in range(4):
            cell = naive[:, :, rows == row][:, :, :, columns == column].flatten(2).mean(2)
            assert (found[:, :, row, column].double() - cell).abs().max() <= 0.5
    wavering = torch.randint(-2, 3, images.shape, generator=torch.Generator().manual_seed(1))
    assert alike(found, digests((images.int() + wavering).clamp(0, 255).to(torch.uint8))).all()
    assert not alike(found, found.roll(1, 0)).any()
    assert digests(images[:, :, :2, :3]).shape == (4, 3, 4, 4)
