"""Images of one's own from Python: tensors, data sets, loaders and folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import bench
from bench.core.errors import BenchError, UsageError
from bench.images.in_memory import as_bytes, gather
from tests.support.own_images import LABELS, folder_of_images, likeness
from tests.support.tiny import tiny_network

BYTES = torch.randint(0, 256, (6, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
NUMBERS = torch.tensor([0, 1, 2, 0, 1, 2])


class Pictures(Dataset[Any]):
    """Pictures with class numbers, and names as torchvision's data sets have them."""

    classes = LABELS

    def __init__(self, transform: Any = None) -> None:
        self._transform = transform

    def __len__(self) -> int:
        return len(BYTES)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        picture = Image.fromarray(BYTES[index].permute(1, 2, 0).numpy())
        return (picture if self._transform is None else self._transform(picture)), int(NUMBERS[index])


def to_tensor(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


@pytest.mark.parametrize(
    "given",
    [
        {"images": BYTES, "labels": NUMBERS},
        {"images": BYTES.float() / 255, "labels": NUMBERS.tolist()},
        {"images": (BYTES.double() / 255).numpy(), "labels": NUMBERS.numpy()},
        {"images": BYTES.float() / 255, "labels": [LABELS[n] for n in NUMBERS], "classes": LABELS},
        {"images": TensorDataset(BYTES.float() / 255, NUMBERS)},
        {"images": DataLoader(TensorDataset(BYTES.float() / 255, NUMBERS), batch_size=4)},
        {"images": DataLoader(TensorDataset(BYTES), batch_size=4), "labels": NUMBERS},
        {"images": Pictures()},
        {"images": Pictures(), "transform": to_tensor},
        {"images": DataLoader(Pictures(to_tensor), batch_size=5)},
        {"images": [{"pixel_values": image, "label": int(n)} for image, n in zip(BYTES, NUMBERS, strict=True)]},
        {"images": ((image, n) for image, n in zip(BYTES, NUMBERS, strict=True))},
    ],
)
def test_every_form_gives_the_same_pixels_and_labels(given: dict[str, Any]) -> None:
    found = gather(**given)
    assert torch.equal(found.split.images, BYTES)
    assert torch.equal(found.split.labels, NUMBERS)
    dataset = getattr(given["images"], "dataset", given["images"])
    assert found.classes == (LABELS if isinstance(dataset, Pictures) or "classes" in given else ())


def test_a_limit_reads_no_more_than_it_takes() -> None:
    def endless() -> Any:
        while True:
            yield BYTES[0], 1

    assert len(gather(endless(), limit=3).split.labels) == 3
    assert gather(BYTES, NUMBERS, limit=2).split.labels.tolist() == [0, 1]


def test_a_folder_is_read_by_the_transform(tmp_path: Path) -> None:
    root = folder_of_images(tmp_path / "photos", 2)
    found = gather(root, transform=lambda picture: to_tensor(picture.resize((16, 16))))
    assert found.classes == LABELS
    assert found.split.labels.tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(UsageError, match=r"expected transform= for the pictures in .*photos"):
        gather(root)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (BYTES[0].float(), r"expected pixels in \[0, 1\], got .* divide them by 255, or hand them in as uint8"),
        (BYTES[0].float() * 300, r"expected pixels in \[0, 1\], got .* hand in pixels in \[0, 1\]"),
        (
            BYTES[0].float() / 127 - 1,
            r"which look normalised; take Normalize out of the transform, and give",
        ),
        (BYTES[0].long(), r"expected float or uint8 pixels, got torch\.int64"),
        (BYTES[0].bool(), r"got torch\.bool"),
        (torch.full((3, 4, 4), float("nan")), "expected finite pixels"),
        (torch.zeros(16, 16, 3), r"got \(16, 16, 3\); put the channels first: permute"),
        (torch.zeros(4, 16, 16), r"\(1 or 3, H, W\), got \(4, 16, 16\); 1 channel is grey"),
    ],
)
def test_pixels_of_another_range_type_or_shape_are_refused(images: Tensor, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        as_bytes(images)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"images": BYTES}, "expected labels, got images alone"),
        ({"images": BYTES[0], "labels": [1]}, r"\(N, C, H, W\), got \(3, 16, 16\); one image is images\[None\]"),
        ({"images": BYTES, "labels": [1, 2]}, "expected one label per image, 6, got 2"),
        ({"images": BYTES, "labels": torch.eye(3)[NUMBERS]}, r"one class number per image, got \[1.0.*argmax\(1\)"),
        ({"images": BYTES, "labels": [0.5] * 6}, "class numbers from 0 on, got 0.5"),
        ({"images": BYTES, "labels": [-1] * 6}, "class numbers from 0 on, got -1"),
        ({"images": BYTES, "labels": ["cat"] * 6}, "got 'cat'; hand in their names as classes="),
        ({"images": BYTES, "labels": ["cicle"] * 6, "classes": LABELS}, "got 'cicle'; did you mean 'circle'?"),
        ({"images": [BYTES[0], BYTES[0, :, :8]], "labels": [0, 1]}, r"one size, got \(3, 16, 16\) and \(3, 8, 16\)"),
        ({"images": [], "labels": []}, "expected images, got none"),
        ({"images": 5}, "got int; hand in one of these"),
        ({"images": [object()], "labels": [0]}, "got object; add transform="),
        ({"images": [{"x": 1}]}, "got the keys x; call it image"),
    ],
)
def test_mistakes_are_one_sentence(given: dict[str, Any], said: str) -> None:
    with pytest.raises(BenchError, match=said.replace("?", r"\?") if said.endswith("?") else said):
        gather(**given)


@pytest.fixture
def like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    return str(likeness(tmp_path))


def test_a_module_is_measured_on_a_tensor(like: str) -> None:
    network = tiny_network(num_classes=3)
    how: dict[str, Any] = {"protocol": like, "mean": 0.5, "std": 0.25, "device": "cpu"}
    result = bench.benchmark(network, images=BYTES, labels=NUMBERS, limit=4, **how)
    assert result.record.samples == 4
    assert not result.record.spec.protocol.rankable
    assert result.record.classes == ("0", "1", "2")
    assert result.floor is not None
    assert result.remark.startswith("Not filed and never ranked: these images are your own")
    assert next(metric.params["k"] for metric in result.record.spec.metrics if "k" in metric.params) == 25
    with torch.no_grad():
        before = network((BYTES[:4].float() / 255 - 0.5) / 0.25).argmax(1)
    assert result.rows["predicted_before"].tolist() == before.tolist()
    assert result.rows["label"].tolist() == NUMBERS[:4].tolist()
    again = bench.benchmark(network, images=TensorDataset(BYTES.float() / 255, NUMBERS), limit=4, **how)
    assert again.record.run_id == result.record.run_id
    assert again.rows.equals(result.rows)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": NUMBERS + 1}, "expected labels from 0 to 2, as the network has 3 outputs, got 3"),
        ({"labels": NUMBERS, "classes": ("a", "b")}, "expected one class per output of the network, 3, got 2"),
        ({"labels": NUMBERS, "mean": None}, "expected mean and std of the normalisation"),
        ({"labels": NUMBERS, "images": BYTES[:, :1], "mean": (0.5, 0.5, 0.5)}, "mean and std > 0 of 1 channels"),
        ({"images": None, "labels": NUMBERS}, "expected images= beside labels"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(like: str, given: dict[str, Any], said: str) -> None:
    how: dict[str, Any] = {"images": BYTES, "protocol": like, "mean": 0.5, "std": 0.25, "device": "cpu"} | given
    with pytest.raises(BenchError, match=said):
        bench.benchmark(tiny_network(num_classes=3), "random-noise", **how)


def test_grey_images_are_measured(like: str) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 7 * 9, 2))
    grey = BYTES[:2, :1].repeat(1, 1, 1, 2)[..., :20]
    result = bench.benchmark(
        network, "random-noise", like, images=grey, labels=[0, 1], mean=0, std=1, classes=["no", "yes"], device="cpu"
    )
    assert result.record.classes == ("no", "yes")
    assert result.record.samples == 2
