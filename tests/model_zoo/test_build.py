"""Models from weights files.

The result is exactly the promised network, or a sentence that says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.errors import IntegrityError, ModelOutputError, PluginFault, UsageError
from bench.core.schemas.entry import ModelEntry, Weights
from bench.core.storage.files import sha256_of_file
from model_zoo.architectures import wide_resnet
from model_zoo.build import build
from model_zoo.logits import check_logits
from model_zoo.tensors import export_weights, read_weights
from model_zoo.weights_file import verify_weights
from tests.support.tiny import residual_content, tiny_network

CPU = torch.device("cpu")
Tensors = dict[str, Tensor]


@pytest.fixture
def content(tmp_path: Path) -> dict[str, Any]:
    return residual_content(tmp_path)


@pytest.fixture
def weights_path(tmp_path: Path, content: dict[str, Any]) -> Path:
    return tmp_path / content["weights"]["file"]


def promised(content: dict[str, Any], path: Path) -> ModelEntry:
    """The entry that promises the bytes of a file, whatever they are."""
    weights = content["weights"] | {"sha256": sha256_of_file(path), "size": max(1, path.stat().st_size)}
    return ModelEntry.model_validate(content | {"weights": weights})


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 32, 32, generator=Rng(1).generator())


def test_the_model_normalises_inside_and_computes_in_float32(content: dict[str, Any], weights_path: Path) -> None:
    entry = ModelEntry.model_validate(content)
    model = build(entry, wide_resnet.build, weights_path, device=CPU)

    oracle = tiny_network().double()
    oracle.load_state_dict({k: v.double() for k, v in load_file(weights_path).items()})
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (entry.mean, entry.std))
    with torch.no_grad():
        expected = oracle((images().double() - mean) / std)
    logits = model(images())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), expected, rtol=1e-4, atol=1e-4)


def test_a_mistake_in_an_architecture_is_named_with_its_line(content: dict[str, Any], weights_path: Path) -> None:
    def mistaken(num_classes: int, **_: object) -> nn.Module:
        made: Any = nn.Linear(3, num_classes)
        return made.nothing

    said = r"^architecture test-build \(model_zoo/test_build\.py:\d+\): AttributeError: "
    with pytest.raises(PluginFault, match=said):
        build(ModelEntry.model_validate(content), mistaken, weights_path, device=CPU)


def test_a_network_that_fails_on_an_image_is_refused() -> None:
    class Odd(nn.Module):
        def forward(self, inputs: Any) -> Any:
            return inputs.nothing

    with pytest.raises(ModelOutputError, match=r"got: AttributeError: .*nothing.*; correct its forward"):
        check_logits(Odd(), images(), 10)


def test_the_model_is_frozen_in_eval_mode_and_channels_last(content: dict[str, Any], weights_path: Path) -> None:
    model = build(ModelEntry.model_validate(content), wide_resnet.build, weights_path, device=CPU)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    kernels = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_exported_weights_are_small_equal_bytes_and_described(tmp_path: Path) -> None:
    network = tiny_network()
    first, second = (export_weights(network, tmp_path / f"{n}.safetensors") for n in ("first", "second"))
    assert (tmp_path / "first.safetensors").read_bytes() == (tmp_path / "second.safetensors").read_bytes()
    assert first == Weights(file="first.safetensors", sha256=second.sha256, size=second.size)
    verify_weights(tmp_path / "first.safetensors", first)

    stored = load_file(tmp_path / "first.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.float16, torch.int64}
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(stored[name].to(tensor.dtype), tensor, rtol=2**-11, atol=1e-7)


@pytest.mark.parametrize("value", [1e5, float("nan"), float("inf")])
def test_numbers_that_float16_cannot_hold_are_not_exported(value: float, tmp_path: Path) -> None:
    network = tiny_network()
    network.state_dict()["head.bias"][0] = value
    with pytest.raises(ModelOutputError, match=r"head\.bias"):
        export_weights(network, tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def without_head(tensors: Tensors) -> Tensors:
    return {k: v for k, v in tensors.items() if not k.startswith("head.")}


def with_another(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: change(tensors[name])}


def first_is(value: float) -> Callable[[Tensor], Tensor]:
    return lambda tensor: tensor.index_fill(0, torch.tensor([0]), value)


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (without_head, r"got 2 missing: head\.bias, head\.weight;"),
        (lambda tensors: tensors | {"spare": torch.zeros(1)}, "got 1 unexpected: spare;"),
        (lambda tensors: {f"1.{k}": v for k, v in tensors.items()}, r"missing: .*, .*, .* …;"),
        (with_another("head.weight", lambda t: t.T.contiguous()), r"shape \(10, 64\), got \(64, 10\) for head\.weight"),
        (with_another("head.bias", lambda t: t.double()), r"got torch\.float64 for head\.bias"),
        (with_another("head.bias", lambda t: t.to(torch.int64)), r"got torch\.int64 for head\.bias"),
        (with_another("norm.num_batches_tracked", lambda t: t.half()), r"got torch\.float16 for norm\.num_batches"),
        (with_another("head.bias", first_is(float("nan"))), r"got NaN or infinity for head\.bias"),
        (with_another("norm.running_var", first_is(float("inf"))), r"got NaN or infinity for norm\.running_var"),
    ],
)
def test_other_tensors_than_the_networks_are_refused(
    damage: Callable[[Tensors], Tensors], complaint: str, content: dict[str, Any], weights_path: Path
) -> None:
    save_file(damage(load_file(weights_path)), weights_path)
    with pytest.raises(IntegrityError, match=complaint):
        build(promised(content, weights_path), wide_resnet.build, weights_path, device=CPU)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_floats_are_read_in_the_networks_precision(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {"weight": torch.tensor([0.5, -2.0])}
    save_file({"weight": tensors["weight"].to(dtype)}, tmp_path / "x.safetensors")
    read = read_weights(tmp_path / "x.safetensors", tensors)
    assert read["weight"].dtype == torch.float32
    assert torch.equal(read["weight"], tensors["weight"])


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"\xff" * 100, b"\x80\x04\x95pickle"])
def test_files_of_another_format_are_refused(body: bytes, content: dict[str, Any], weights_path: Path) -> None:
    weights_path.write_bytes(body)
    with pytest.raises(IntegrityError, match="expected safetensors in"):
        build(promised(content, weights_path), wide_resnet.build, weights_path, device=CPU)


@pytest.mark.parametrize("params", [{"depth": 11}, {"width": 1, "colour": "red"}, {"depth": "deep"}])
def test_parameters_that_the_architecture_refuses_name_the_entry(
    params: dict[str, Any], content: dict[str, Any], weights_path: Path
) -> None:
    content["architecture"]["params"] = params
    with pytest.raises(UsageError, match="entry tiny: architecture wide-resnet"):
        build(ModelEntry.model_validate(content), wide_resnet.build, weights_path, device=CPU)


class Answers(nn.Module):
    """A model with one answer for everything."""

    def __init__(self, answer: object) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor) -> object:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (torch.zeros(3, 9), r"shape \(3, 10\), got \(3, 9\)"),
        (torch.zeros(10), r"got \(10,\)"),
        (torch.zeros(3, 10, dtype=torch.int64), r"got torch\.int64"),
        ((torch.zeros(3, 10),), "got tuple of 1; .*network.images..0."),
        (torch.full((3, 10), float("nan")), "for 3 of 3 images"),
        (torch.zeros(3, 10).index_fill(0, torch.tensor([1]), float("inf")), "for 1 of 3 images"),
    ],
)
def test_answers_that_are_no_logits_are_refused(answer: object, complaint: str) -> None:
    with pytest.raises(ModelOutputError, match=complaint):
        check_logits(Answers(answer), images(), 10)


def test_images_that_a_model_does_not_take_are_refused() -> None:
    with pytest.raises(ModelOutputError, match="images with 1 channels"):
        check_logits(tiny_network(), images()[:, :1], 10)


def test_logits_pass_unchanged() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 10)).requires_grad_(False)
    torch.testing.assert_close(check_logits(network, images(), 10), network(images()))
