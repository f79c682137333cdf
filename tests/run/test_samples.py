"""Sample sets: the right images in the right order, or an error."""

from __future__ import annotations

import hashlib
from collections import Counter
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image

from bench.core.compute.digests import digests
from bench.core.compute.rng import Rng
from bench.core.contracts import Dataset, Split
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.core.schemas.protocol import SampleSet
from bench.data import _sources
from bench.data.cifar10 import Cifar10
from bench.data.foolbox_cifar10 import FoolboxCifar10
from bench.run.samples import checksum, draw_stratified, load_samples


class Tiles(Dataset):
    """Six images of 2x2 pixels, three channels, all values different."""

    def is_stored(self) -> bool:
        return True

    def load(self, split: Literal["train", "test"]) -> Split:
        return Split(torch.arange(72, dtype=torch.uint8).view(6, 3, 2, 2), torch.tensor([5, 4, 3, 2, 1, 0]))


def sample_set(indices: tuple[int, ...], **changes: Any) -> SampleSet:
    pixels = np.arange(72, dtype=np.uint8).reshape(6, 12)
    sha256 = hashlib.sha256(b"".join(pixels[i].tobytes() for i in indices if i < 6)).hexdigest()
    content = {"dataset": "tiles", "source": "tiles", "sha256": sha256, "indices": indices}
    return SampleSet.model_validate(content | changes)


def test_images_come_in_the_order_of_the_indices_as_floats_in_0_1() -> None:
    samples = load_samples(sample_set((4, 0)), Tiles())
    assert samples.ids == ("tiles/test/4", "tiles/test/0")
    assert samples.labels.tolist() == [1, 5]
    assert samples.images.dtype == torch.float32
    np.testing.assert_array_equal(samples.images[0].flatten(), np.arange(48, 60, dtype=np.float32) / np.float32(255))
    first = samples.part(slice(1))
    assert (first.ids, len(first.images), first.labels.tolist()) == (("tiles/test/4",), 1, [1])


def test_another_order_or_other_pixels_do_not_pass() -> None:
    with pytest.raises(IntegrityError, match=r"2 images of tiles, split test.*got.*restore the data"):
        load_samples(sample_set((4, 0)).model_copy(update={"indices": (0, 4)}), Tiles())
    with pytest.raises(IntegrityError, match="expected the 1 images"):
        load_samples(sample_set((4,), sha256="0" * 64), Tiles())


def test_pixels_within_the_tolerance_of_the_digests_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Accept a decoder's rounding, and no other image.

    Rounding moves the mean of every cell by one grey level at most.
    """
    large = torch.randint(8, 248, (2, 3, 8, 8), generator=Rng(4).generator()).to(torch.uint8)
    kept = [bytes(digest.flatten().tolist()).hex() for digest in digests(large)]
    assert len(kept[0]) == 96
    wanted = sample_set((0, 1), sha256=checksum(large), digests=kept)
    for change, passes in ((0, True), (1, True), (-1, True), (2, False)):
        split = Split((large.int() + change).to(torch.uint8), torch.tensor([0, 1]))
        monkeypatch.setattr(Tiles, "load", lambda self, name, split=split: split)
        if passes:
            assert len(load_samples(wanted, Tiles()).ids) == 2
        else:
            with pytest.raises(IntegrityError, match="restore the data"):
                load_samples(wanted, Tiles())
    monkeypatch.setattr(Tiles, "load", lambda self, name: Split(large[:, :1] + 0, torch.tensor([0, 1])))
    with pytest.raises(IntegrityError, match="restore the data"):
        load_samples(wanted, Tiles())


def test_a_digest_per_image_is_expected() -> None:
    with pytest.raises(ValueError, match="digests: expected one per index, 2, got 1"):
        sample_set((0, 1), digests=["0" * 96])
    with pytest.raises(ValueError, match="should match pattern"):
        sample_set((0,), digests=["0" * 95])


@pytest.mark.parametrize("index", [6, -1])
def test_indices_outside_the_split_do_not_pass(index: int) -> None:
    with pytest.raises(IntegrityError, match=f"to hold the index {index}, got 6 images"):
        load_samples(sample_set((index,)), Tiles())


def test_the_checksum_ignores_strides() -> None:
    images = torch.arange(72, dtype=torch.uint8).view(2, 3, 3, 4)
    assert checksum(images.contiguous(memory_format=torch.channels_last)) == checksum(images)
    assert checksum(images) == hashlib.sha256(bytes(range(72))).hexdigest()


# Drawing


@pytest.fixture
def labels() -> list[int]:
    return torch.randint(5, (600,), generator=Rng(3).generator()).tolist()


def test_drawn_prefixes_are_as_balanced_as_they_can_be(labels: list[int]) -> None:
    drawn = draw_stratified(labels, leading=12, per_class=40, seed="s")
    assert drawn[:12] == list(range(12))
    assert len(set(drawn)) == len(drawn) == 200
    most = max(Counter(labels[:12]).values())
    for length in range(5 * most, 201, 5):
        assert set(Counter(labels[i] for i in drawn[:length]).values()) == {length // 5}


def test_a_drawing_depends_on_its_seed_alone_and_takes_more_by_appending(labels: list[int]) -> None:
    drawn = draw_stratified(labels, leading=0, per_class=40, seed="s")
    assert draw_stratified(labels, leading=0, per_class=40, seed="s") == drawn
    assert draw_stratified(labels, leading=0, per_class=40, seed="t") != drawn
    assert draw_stratified(labels, leading=0, per_class=60, seed="s")[:200] == drawn


def test_within_a_class_the_hash_decides(labels: list[int]) -> None:
    drawn = draw_stratified(labels, leading=0, per_class=40, seed="s")
    threes = [i for i in range(600) if labels[i] == 3]
    by_hash = sorted(threes, key=lambda i: hashlib.sha256(b"s/" + str(i).encode()).hexdigest())
    assert [i for i in drawn if labels[i] == 3] == by_hash[:40]


@pytest.mark.parametrize(("leading", "per_class"), [(0, 200), (600, 40)])
def test_impossible_drawings_are_refused(leading: int, per_class: int, labels: list[int]) -> None:
    with pytest.raises(ValueError, match="images of class"):
        draw_stratified(labels, leading=leading, per_class=per_class, seed="s")


# The images of the foolbox wheel


def test_the_wheel_holds_twenty_images_of_the_classes_of_cifar10() -> None:
    images, labels = FoolboxCifar10().load("test")
    assert images.shape == (20, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    names = [FoolboxCifar10.classes[label] for label in labels[:6]]
    assert names == ["cat", "ship", "ship", "airplane", "frog", "frog"]
    assert (FoolboxCifar10.mean, FoolboxCifar10.std) == (Cifar10.mean, Cifar10.std)


def test_it_has_no_training_images() -> None:
    with pytest.raises(UsageError, match="train on cifar10"):
        FoolboxCifar10().load("train")


class Elsewhere:
    """A distribution that lies in a folder of the test."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def locate_file(self, path: str) -> Path:
        return self.root / path


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "foolbox" / "data"
    folder.mkdir(parents=True)
    for index in range(20):
        Image.new("RGB", (32, 32), (index, 2 * index, 0)).save(folder / f"cifar10_{index:02d}_{index % 10}.png")
    monkeypatch.setattr(_sources, "distribution", lambda name: Elsewhere(tmp_path))
    return folder


def test_index_label_and_channels_are_read_from_the_right_places(wheel: Path) -> None:
    images, labels = FoolboxCifar10().load("test")
    assert labels.tolist() == [index % 10 for index in range(20)]
    assert images[7, :, 3, 4].tolist() == [7, 14, 0]


def test_a_wheel_without_an_image_is_the_environments_fault(wheel: Path) -> None:
    (wheel / "cifar10_11_1.png").unlink()
    with pytest.raises(EnvironmentFault, match=r"cifar10_11_<label>\.png.*got 0; reinstall foolbox"):
        FoolboxCifar10().load("test")


@pytest.mark.parametrize("size", [(32, 31), None])
def test_a_damaged_image_is_an_integrity_error(size: tuple[int, int] | None, wheel: Path) -> None:
    path = wheel / "cifar10_11_1.png"
    if size is None:
        path.write_bytes(path.read_bytes()[:50])
    else:
        Image.new("RGB", size).save(path)
    with pytest.raises(IntegrityError, match=r"cifar10_11_1\.png"):
        FoolboxCifar10().load("test")


def test_without_the_distribution_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(_sources, "distribution", missing)
    with pytest.raises(EnvironmentFault, match="pip install foolbox"):
        FoolboxCifar10().load("test")
