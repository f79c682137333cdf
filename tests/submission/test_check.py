"""`bench submit check` accepts an honest model and finds every fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.checks.check import Check
from bench.core.errors import BenchError, IntegrityError, ModelOutputError
from bench.core.storage.files import sha256_of_file
from bench.data.cifar10 import Cifar10
from bench.submission import check as checks
from model_zoo.build import classifier, freeze
from model_zoo.weights_file import Resolved
from tests.support.commands import invoke
from tests.support.factories import model_entry
from tests.support.tiny import write_entry

CPU = torch.device("cpu")
QUESTIONS = ["entry and weights", "name", "licence and citation", "normalisation", "architecture", "samples", "logits",
    "second derivatives", "deterministic", "[0, 1] contract", "clean accuracy"]  # fmt: skip


def asked(folder: Path, content: dict[str, Any]) -> list[Check]:
    return checks.check_submission(f"file:{write_entry(folder, content)}", device=CPU)


def test_an_honest_model_passes_every_check(tmp_path: Path, content: dict[str, Any]) -> None:
    found = asked(tmp_path, content)
    assert [check.question for check in found] == QUESTIONS
    assert all(check.ok and check.exit_code == 0 for check in found)
    assert not any("\n" in check.detail for check in found)


def set_key(key: str, value: Any) -> Callable[[Path, dict[str, Any]], None]:
    def change(_: Path, content: dict[str, Any]) -> None:
        *outer, last = key.split(".")
        for name in outer:
            content = content[name]
        content[last] = value

    return change


def nan_weights(folder: Path, content: dict[str, Any]) -> None:
    from safetensors.torch import save_file

    path = folder / "tiny.safetensors"
    save_file(load_file(path) | {"head.bias": torch.full((10,), float("nan"))}, path)
    content["weights"] |= {"sha256": sha256_of_file(path), "size": path.stat().st_size}


def borrowed_name(folder: Path, content: dict[str, Any]) -> None:
    (folder / "tiny.safetensors").rename(folder / "art-wrn28.safetensors")
    content["name"], content["weights"]["file"] = "art-wrn28", "art-wrn28.safetensors"


@pytest.mark.parametrize(
    ("change", "question", "code", "sentence"),
    [
        (set_key("colour", "red"), "entry and weights", 2, "unknown key 'colour'"),
        (set_key("weights.size", 5), "entry and weights", 3, "expected 5 bytes"),
        (set_key("weights.sha256", "0" * 64), "entry and weights", 3, "sha256"),
        (set_key("weights.file", "tiny.pth"), "entry and weights", 2, ".safetensors file"),
        (borrowed_name, "name", 2, "expected a free name, got art-wrn28"),
        (set_key("citation", " "), "licence and citation", 2, "--citation"),
        (set_key("mean", [125.3, 123.0, 113.9]), "normalisation", 2, "divide them by 255"),
        (set_key("num_classes", 9), "normalisation", 2, "expected 10 classes"),
        (set_key("architecture.name", "wide-resnot"), "architecture", 2, "did you mean 'wide-resnet'?"),
        (set_key("architecture.params.depth", 16), "architecture", 3, "missing"),
        (set_key("architecture.params.width", 3000), "architecture", 3, "missing: blocks.0.shortcut"),
        (set_key("architecture.params.width", 10**12), "architecture", 2, "mend its parameters"),
        (set_key("architecture.params.depth", 6 * 10**9 + 4), "architecture", 2, "at most 5000 modules"),
        (nan_weights, "architecture", 3, "finite numbers, got NaN"),
        (set_key("accuracy.clean", 0.95), "clean accuracy", 3, "measured before: 95.00%"),
        (set_key("claimed", {"clean": 0.95}), "clean accuracy", 3, "from the claimed 95.00%"),
        (set_key("accuracy.clean", 0.95), "clean accuracy", 3, "likely causes: a wrong mean or std"),
    ],
)
def test_each_fault_is_found(
    change: Callable[[Path, dict[str, Any]], None], question: str, code: int, sentence: str,
    tmp_path: Path, content: dict[str, Any],
) -> None:  # fmt: skip
    change(tmp_path, content)
    content = {key: value for key, value in content.items() if value is not None}
    failed = {check.question: check for check in asked(tmp_path, content) if not check.ok}
    assert failed[question].exit_code == code
    assert sentence in failed[question].detail
    assert "\n" not in failed[question].detail


class Random(nn.Module):
    """Logits with noise that no seed controls."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.randn(len(images), 10)


class Batch(nn.Module):
    """Logits that depend on the batch an image is in."""

    def forward(self, images: Tensor) -> Tensor:
        return (images - images.mean(0)).flatten(1)[:, :10]


class Brightness(nn.Module):
    """A network that is right on correctly normalised grey images."""

    def forward(self, images: Tensor) -> Tensor:
        grey = images.mean((1, 2, 3))[:, None]
        return -((grey - torch.arange(10) / 10).abs())


def subject(network: nn.Module, mean: float, std: float) -> checks.Subject:
    model = freeze(classifier(network, [mean] * 3, [std] * 3))
    labels = torch.arange(20) % 10
    images = (labels / 10).view(-1, 1, 1, 1).expand(20, 3, 4, 4).contiguous()
    entry = model_entry(mean=[mean] * 3, std=[std] * 3)
    return checks.Subject(Resolved(entry, "file:x.toml", Path("x")), model, images, labels, CPU)


@pytest.mark.parametrize(("network", "what"), [(Random(), "randomised"), (Batch(), "not to depend on its batch")])
def test_a_model_that_answers_differently_twice_is_found(network: nn.Module, what: str) -> None:
    with pytest.raises(ModelOutputError, match=what):
        checks._check_deterministic(subject(network, 0.0, 1.0))


def test_a_normalisation_that_the_network_was_not_trained_with_is_found() -> None:
    assert "20 of 20 right" in checks._check_contract(subject(Brightness(), 0.0, 1.0))
    with pytest.raises(IntegrityError, match="20 of 20 right for images without any normalisation"):
        checks._check_contract(subject(Brightness(), 0.5, 0.2))

    class Usual(Brightness):
        def forward(self, images: Tensor) -> Tensor:
            mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (Cifar10.mean, Cifar10.std))
            return super().forward(images * std + mean)

    with pytest.raises(IntegrityError, match="20 of 20 right for images with the data set's own"):
        checks._check_contract(subject(Usual(), 0.0, 1.0))


def test_infinite_logits_are_found() -> None:
    class Infinite(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :10] / images.mean((1, 2, 3))[:, None]

    with pytest.raises(ModelOutputError, match="NaN or infinity"):
        checks._check_logits(subject(Infinite(), 0.0, 1.0))


@pytest.mark.usefixtures("content")
def test_check_prints_a_table_and_exits_with_the_worst_code(
    tmp_path: Path, content: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_entry(tmp_path, content)
    code, out, _ = invoke(capsys, "submit", "check", str(path))
    assert code == 0
    assert "11 of 11 checks passed" in out
    content["accuracy"]["clean"], content["citation"] = 0.95, ""
    write_entry(tmp_path, content)
    code, out, _ = invoke(capsys, "submit", "check", str(path), "--json")
    assert code == 3
    assert [c["question"] for c in json.loads(out) if not c["ok"]] == ["licence and citation", "clean accuracy"]


class Cut(nn.Module):
    """A forward without gradients."""

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1)[:, :10].square()


def test_a_network_that_no_attack_can_differentiate_is_found() -> None:
    with pytest.raises(BenchError) as caught:
        checks._check_curvature(subject(Cut(), 0.0, 1.0))
    assert "\n" not in str(caught.value)
    bent = nn.Sequential(nn.Flatten(), nn.Linear(48, 20), nn.ReLU(), nn.Linear(20, 10))
    assert "smooth surrogate" in checks._check_curvature(subject(bent, 0.0, 1.0))
