"""Image sets: the stored ones, and small files in the official formats.

Also tests the errors for missing files.
"""

from __future__ import annotations

import bz2
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.io import savemat

from bench.core.compute import vision
from bench.core.contracts import Dataset, Split
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.data._enlarge import enlarge
from bench.data.cifar10 import Cifar10
from bench.data.cub import Cub
from bench.data.fashion_mnist import FashionMnist
from bench.data.flowers import Flowers
from bench.data.foolbox_fashion_mnist import FoolboxFashionMnist
from bench.data.foolbox_mnist import FoolboxMnist
from bench.data.gtsrb import Gtsrb
from bench.data.mnist import FILES, Mnist
from bench.data.mnist_32 import Mnist32
from bench.data.svhn import Svhn
from bench.data.usps import Usps
from bench.data.usps_28 import Usps28

SIZES = {Cifar10: (50000, 10000), Mnist: (60000, 10000), Usps: (7291, 2007), Gtsrb: (39209, 12630)}
SHAPES = {Cifar10: (3, 32, 32), Mnist: (1, 28, 28), Usps: (1, 16, 16), Gtsrb: (3, 32, 32)}
ARCHIVES = {Usps: "usps", Gtsrb: "gtsrb32"}


def stored(kind: type[Dataset]) -> Dataset:
    dataset = kind()
    if not dataset.is_stored():
        pytest.skip(f"{kind.__name__} is not in the data folder")
    return dataset


@pytest.mark.parametrize("kind", [Mnist, Usps, Gtsrb])
def test_a_stored_set_has_the_official_size_every_class_and_its_normalisation(kind: type[Dataset]) -> None:
    dataset = stored(kind)
    train, test = dataset.load("train"), dataset.load("test")
    assert (len(train.labels), len(test.labels)) == SIZES[kind]
    assert train.images.shape[1:] == test.images.shape[1:] == SHAPES[kind]
    assert train.images.shape[1:] == kind.shape
    assert train.images.dtype == torch.uint8
    assert train.labels.dtype == torch.int64
    assert train.labels.unique().tolist() == test.labels.unique().tolist() == list(range(len(kind.classes)))
    pixels = train.images[::3].float() / 255
    torch.testing.assert_close(pixels.mean((0, 2, 3)), torch.tensor(kind.mean), atol=0.005, rtol=0)
    torch.testing.assert_close(pixels.std((0, 2, 3)), torch.tensor(kind.std), atol=0.005, rtol=0)


def test_the_mnist_images_of_the_wheel_are_the_first_twenty_of_the_test_split() -> None:
    wheel = FoolboxMnist().load("test")
    assert wheel.images.shape == (20, 1, 28, 28)
    assert wheel.labels.tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 6, 9, 0, 1, 5, 9, 7, 3, 4]
    official = stored(Mnist).load("test")
    assert torch.equal(wheel.images, official.images[:20])
    assert torch.equal(wheel.labels, official.labels[:20])


def test_the_wheel_has_no_training_images_of_mnist() -> None:
    assert FoolboxMnist().is_stored()
    with pytest.raises(UsageError, match="train on mnist"):
        FoolboxMnist().load("train")


@pytest.mark.parametrize("kind", [Cifar10, Mnist, Usps, Gtsrb, Svhn, Flowers])
def test_a_set_that_is_nowhere_says_where_it_is_looked_for(
    kind: type[Dataset], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: object, download: bool, **__: object) -> None:
        raise RuntimeError("no network" if download else "not found")

    official = "Flowers102" if kind is Flowers else kind.__name__.upper()
    monkeypatch.setattr(vision.datasets, official, offline)
    assert not kind().is_stored()
    with pytest.raises(EnvironmentFault, match=r"could not download it \(no network\).*BENCH_DATA") as caught:
        kind().load("test")
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("kind", [Cifar10, Cub])
def test_a_data_folder_that_is_not_there_is_not_made(
    kind: type[Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "typo"))
    for ask in (kind().is_stored, lambda: kind().load("test")):
        with pytest.raises(EnvironmentFault, match=r"expected a folder of image sets at .*typo, got none; correct --d"):
            ask()
    assert not (tmp_path / "typo").exists()


def test_a_damaged_mnist_file_is_an_integrity_error(folder: Path) -> None:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for files in FILES.values():
        for name, _ in files:
            (raw / name).write_bytes(bytes(100))
    with pytest.raises(IntegrityError, match=r"t10k-images-idx3-ubyte.*delete it"):
        Mnist().load("test")


@pytest.mark.parametrize("kind", ARCHIVES)
def test_an_archive_is_read_channels_first(kind: type[Dataset], folder: Path) -> None:
    images = small_images(kind)
    save(folder, kind, images=images, labels=np.array([3, 1]))
    assert kind().is_stored()
    split = kind().load("train")
    assert split.labels.tolist() == [3, 1]
    assert split.images[1, -1, 2, 5] == images[1, 2, 5, -1]


@pytest.mark.parametrize("kind", ARCHIVES)
@pytest.mark.parametrize("damage", ["text", "cut", "empty", "no labels", "other size", "floats", "fewer labels"])
def test_a_damaged_archive_is_an_integrity_error(kind: type[Dataset], damage: str, folder: Path) -> None:
    images, labels = small_images(kind), np.array([3, 1])
    if damage == "no labels":
        save(folder, kind, images=images)
    elif damage == "other size":
        save(folder, kind, images=images[:, :5], labels=labels)
    elif damage == "floats":
        save(folder, kind, images=images / 255, labels=labels)
    elif damage == "fewer labels":
        save(folder, kind, images=images, labels=labels[:1])
    else:
        save(folder, kind, images=images, labels=labels)
        path = folder / ARCHIVES[kind] / "test.npz"
        content = path.read_bytes()
        path.write_bytes({"text": b"no archive", "cut": content[: len(content) // 2], "empty": b""}[damage])
    with pytest.raises(IntegrityError, match=r"test\.npz.*restore the file"):
        kind().load("test")


def small_images(kind: type[Dataset]) -> np.ndarray:
    channels, height, width = SHAPES[kind]
    return np.random.default_rng(0).integers(0, 256, (2, height, width, channels), dtype=np.uint8)


def save(folder: Path, kind: type[Dataset], **arrays: Any) -> None:
    (folder / ARCHIVES[kind]).mkdir()
    for split in ("train", "test"):
        np.savez(folder / ARCHIVES[kind] / f"{split}.npz", **arrays)


def test_the_official_usps_files_are_read_where_there_is_no_archive(folder: Path) -> None:
    values = np.linspace(-1, 1, 256)
    line = "5 " + " ".join(f"{i + 1}:{v:.6f}" for i, v in enumerate(values))
    for name in ("usps.bz2", "usps.t.bz2"):
        (folder / name).write_bytes(bz2.compress(f"{line}\n{line}\n".encode()))
    assert Usps().is_stored()
    images, labels = Usps().load("test")
    assert labels.tolist() == [4, 4]
    assert images.shape == (2, 1, 16, 16)
    assert images[0].flatten()[[0, 255]].tolist() == [0, 255]
    assert (images[0].flatten().diff().int() >= 0).all()


def test_the_official_gtsrb_images_are_read_where_there_is_no_archive(folder: Path) -> None:
    training, final = (folder / "gtsrb" / "GTSRB" / name for name in ("Training", "Final_Test"))
    (final / "Images").mkdir(parents=True)
    for label, color in enumerate([(10, 20, 30), (40, 50, 60)]):
        (training / f"{label:05d}").mkdir(parents=True)
        Image.new("RGB", (50, 44), color).save(training / f"{label:05d}" / "00000_00000.ppm")
        Image.new("RGB", (30, 31), color).save(final / "Images" / f"{label:05d}.ppm")
    (folder / "gtsrb" / "GT-final_test.csv").write_text("Filename;ClassId\n00001.ppm;7\n00000.ppm;3\n")
    assert Gtsrb().is_stored()
    train, test = Gtsrb().load("train"), Gtsrb().load("test")
    assert train.labels.tolist() == [0, 1]
    assert test.labels.tolist() == [7, 3]
    assert test.images.shape == (2, 3, 32, 32)
    assert train.images[0, :, 4, 9].tolist() == [10, 20, 30]
    assert test.images[0, :, 4, 9].tolist() == [40, 50, 60]


def test_svhn_is_read_as_torchvision_gives_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the official files: (H, W, C, N) images and labels.

    Labels are 1 to 10, where 10 stands for the digit 0.
    """
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 3, 2), dtype=np.uint8)
    (folder / "svhn").mkdir()
    for split in ("train", "test"):
        savemat(folder / "svhn" / f"{split}_32x32.mat", {"X": images, "y": np.array([[10], [3]])})
    monkeypatch.setattr(vision.datasets.SVHN, "_check_integrity", lambda _: True)
    assert Svhn().is_stored()
    test = Svhn().load("test")
    assert test.labels.tolist() == [0, 3]
    assert test.labels.dtype == torch.int64
    assert test.images.shape == (2, 3, 32, 32)
    assert test.images[1, 2, 7, 9] == images[7, 9, 2, 1]


def test_classes_are_as_many_as_the_sets_have() -> None:
    assert (len(set(Flowers.classes)), len(set(Cub.classes))) == (102, 200)


@pytest.mark.parametrize(("before", "side"), [(16, 28), (28, 32), (5, 5), (4, 9)])
def test_images_are_enlarged_as_torch_does_it(before: int, side: int) -> None:
    images = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 1, before, before), dtype=np.uint8))
    expected = F.interpolate(images.double(), (side, side), mode="bilinear", align_corners=False)
    assert (enlarge(images, side) - expected).abs().max() <= 0.5 + 1e-9


def test_digits_come_at_the_size_of_the_other_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 1, 28, 28), dtype=np.uint8))
    labels = torch.tensor([4, 2])
    monkeypatch.setattr(Mnist, "load", lambda self, split: Split(digits, labels))
    mnist = Mnist32().load("test")
    assert mnist.images.shape == (2, 3, 32, 32)
    assert torch.equal(mnist.images[:, 0], mnist.images[:, 2])
    assert torch.equal(mnist.images[:, :1], enlarge(digits, 32))
    monkeypatch.setattr(Usps, "load", lambda self, split: Split(digits[..., :16, :16], labels))
    usps = Usps28().load("test")
    assert usps.images.shape == (2, 1, 28, 28)
    assert torch.equal(usps.labels, labels)


def test_fashion_mnist_comes_from_the_wheel_or_as_torchvision_gives_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = FoolboxFashionMnist().load("test")
    assert wheel.images.shape == (20, 1, 28, 28)
    assert wheel.labels.tolist()[:4] == [9, 2, 1, 1]
    with pytest.raises(UsageError, match="train on fashion-mnist"):
        FoolboxFashionMnist().load("train")

    class Stored:
        data, targets = wheel.images[:, 0], wheel.labels.int()

    monkeypatch.setattr(vision.datasets, "FashionMNIST", lambda root, train, download: Stored())
    full = FashionMnist().load("test")
    assert torch.equal(full.images, wheel.images)
    assert full.labels.dtype == torch.int64
