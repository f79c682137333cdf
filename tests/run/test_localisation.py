"""Runs whose metrics need boxes or masks, from start to end."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import tomli_w
import torch

from bench import registry
from bench.core.contracts import Annotation, AnnotationKind
from bench.core.errors import UsageError
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from bench.data.foolbox_cifar10 import FoolboxCifar10
from bench.run.execution import Execution
from bench.run.plan import plan
from bench.run.request import Request
from bench.run.samples import load_samples
from bench.run.steps import run
from tests.support.tiny import residual_content, write_entry, write_protocol
from tests.support.watcher import Watcher

COUNT = 3
MEASURED: list[dict[str, Any]] = [
    {"name": "kendall"},
    {"name": "gt-known-loc", "params": {"sigma": 1.0, "threshold": 0.5}},
    {"name": "gt-known-loc", "as": "gt-known-loc-after", "params": {"of": "after", "sigma": 1.0, "threshold": 0.5}},
    {"name": "max-box-acc", "params": {"thresholds": 4}},
    {"name": "max-box-acc", "as": "max-box-acc-after", "params": {"thresholds": 4, "of": "after"}},
    {"name": "top1-seg", "params": {"iou": 0.1}},
    {"name": "accuracy"},
]


class Boxed(FoolboxCifar10):
    """Annotate the wheel's twenty images with a box each.

    The box of image i has i + 5 pixels.
    """

    annotates: ClassVar[tuple[AnnotationKind, ...]] = ("boxes", "mask")

    def annotations(self, split: Literal["train", "test"]) -> tuple[Annotation, ...]:
        boxes = [torch.tensor([[4.0, 4.0, 9.0 + i, 9.0 + i]], dtype=torch.float64) for i in range(20)]
        return tuple(Annotation(box, torch.ones(32, 32, dtype=torch.bool)) for box in boxes)


@pytest.fixture(autouse=True)
def offered() -> Iterator[None]:
    with registry.offering("datasets", "boxed", Boxed):
        yield


def protocol_of(folder: Path, source: str = "boxed", **changes: Any) -> str:
    path = write_protocol(folder, "places", COUNT, 2)
    content = tomllib.loads(path.read_text())
    content["samples"] |= {"source": source, "showcase": []}
    path.write_text(tomli_w.dumps(content | {"metrics": MEASURED, "primary_metric": "kendall"} | changes))
    return str(path)


def finished(tmp_path: Path, attack: str) -> StoredRun:
    model = f"file:{write_entry(tmp_path, residual_content(tmp_path))}"
    wanted = Request(model=model, attack=attack, protocol=protocol_of(tmp_path))
    (made,) = run([wanted], Execution(Store(tmp_path / "results"), tmp_path / "work", "cpu"), Watcher())
    return made


def test_places_are_measured_before_and_after_and_at_every_threshold(tmp_path: Path) -> None:
    stored = finished(tmp_path, "ifia-topk")
    rows, means = stored.rows(), stored.record.summaries["all"]
    levels = ["0.2", "0.4", "0.6", "0.8"]
    for name in ("max-box-acc", "max-box-acc-after"):
        assert [column for column in rows if str(column).startswith(f"{name}@")] == [
            f"{name}@{level}" for level in levels
        ]
        assert (rows[name] == rows[[f"{name}@{level}" for level in levels]].max(axis=1)).all()
        assert means[f"{name}@0.4"].mean == rows[f"{name}@0.4"].mean()
    assert set(rows["gt-known-loc"]) | set(rows["gt-known-loc-after"]) <= {0.0, 1.0}
    headline = stored.record.headline
    assert headline["top1-seg"] == means["top1-seg"]
    assert headline["gt-known-loc"] == stored.record.summaries["correct"]["gt-known-loc"]


def test_the_clean_side_is_the_same_under_every_attack(tmp_path: Path) -> None:
    one, other = (finished(tmp_path, attack).rows() for attack in ("ifia-topk", "random-noise"))
    before = [
        name for name in map(str, one) if name.startswith(("gt-known-loc", "max-box-acc")) and "-after" not in name
    ]
    assert len(before) == 6
    assert one[before].equals(other[before])


def test_samples_keep_their_annotations(tmp_path: Path) -> None:
    wanted = registry.load("protocols", protocol_of(tmp_path)).samples
    samples = load_samples(wanted, Boxed())
    widths = [float(a.boxes[0, 2]) for a in samples.annotations if a.boxes is not None]
    assert widths == [9.0 + index for index in wanted.indices]
    assert samples.split(2)[1].annotations == samples.annotations[2:]
    assert type(samples).joined(samples.split(2)).annotations == samples.annotations


def test_a_data_set_without_annotations_is_refused_before_the_attack(tmp_path: Path) -> None:
    protocol = protocol_of(tmp_path, "foolbox-cifar10")
    with pytest.raises(UsageError, match="expected a data set with boxes for gt-known-loc, got foolbox-cifar10, which"):
        plan(Request(model="hub:natural-wrn28", attack="random-noise", protocol=protocol))


def test_no_attack_selects_by_a_place(tmp_path: Path) -> None:
    protocol = protocol_of(tmp_path, primary_metric="gt-known-loc")
    with pytest.raises(UsageError, match="got gt-known-loc, which needs boxes; choose another"):
        plan(Request(model="hub:natural-wrn28", attack="random-noise", protocol=protocol))
