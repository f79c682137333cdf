"""Conversion of foreign checkpoints.

No code of the file runs, every key is accounted for, and the converted network computes the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from bench.core.errors import IntegrityError, ModelOutputError, UsageError
from model_zoo.architectures import small_cnn, wide_resnet
from model_zoo.foreign.names import Normalisation, read_checkpoint, strip, translate
from tests.support.foreign import foreign_state_dict
from tests.support.tiny import tiny_network


def test_the_network_of_a_nested_prefixed_checkpoint_computes_the_same(tmp_path: Path) -> None:
    network = wide_resnet.build(10, depth=16, width=2)
    torch.save({"net": foreign_state_dict(network), "epoch": 3, "best": 0.4}, tmp_path / "a.pth")
    checkpoint = read_checkpoint(tmp_path / "a.pth")
    tensors, normalisation = strip(checkpoint.tensors)
    params, names = wide_resnet.adopt({name: tuple(t.shape) for name, t in tensors.items()})
    assert (checkpoint.table, normalisation) == ("net", None)
    assert params == {"depth": 16, "width": 2, "channels": 3}

    ours = wide_resnet.build(10, **params)
    placed, report = translate(tensors, ours.state_dict(), names)
    assert report.complete
    assert not report.matched
    assert report.renamed["block2.layer.1.bn1.weight"] == "blocks.3.norm1.weight"
    ours.load_state_dict(placed)
    images = torch.linspace(0, 1, 2 * 3 * 32 * 32).view(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(ours.eval()(images), network.eval()(images))


class Theirs(nn.Module):
    """A wrapper with a normalisation in front, as RobustBench has them."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mu", torch.tensor([0.5, 0.4, 0.3]).view(1, 3, 1, 1))
        self.register_buffer("sigma", torch.tensor([0.25, 0.2, 0.3]).view(1, 3, 1, 1))
        self.model = tiny_network()


@pytest.mark.parametrize("wrap", [lambda m: m, nn.DataParallel, nn.Sequential], ids=["", "data", "1."])
def test_wrappers_and_a_leading_normalisation_are_taken_off(wrap: Any) -> None:
    tensors, normalisation = strip(wrap(Theirs()).state_dict())
    assert normalisation == Normalisation((0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    assert tensors.keys() == tiny_network().state_dict().keys()


def test_a_normalisation_as_the_first_of_a_sequence_is_taken_off() -> None:
    front = nn.Module()
    front.register_buffer("mean", torch.zeros(3))
    front.register_buffer("std", torch.ones(3))
    tensors, normalisation = strip(nn.Sequential(front, tiny_network()).state_dict())
    assert normalisation == Normalisation((0, 0, 0), (1, 1, 1))
    assert tensors.keys() == tiny_network().state_dict().keys()


@pytest.mark.parametrize("inner", [{"model": 1, "optimizer": 2}, {"ema": 3, "state_dict": 1}, {"a": {"model": 1}}])
def test_the_usual_table_is_read_and_another_on_request(inner: dict[str, Any], tmp_path: Path) -> None:
    def filled(value: Any) -> Any:
        nested = isinstance(value, dict)
        return {k: filled(v) for k, v in value.items()} if nested else {"w": torch.full((2,), float(value))}

    torch.save(filled(inner), tmp_path / "a.pt")
    found = read_checkpoint(tmp_path / "a.pt")
    assert found.tensors["w"][0] == 1
    assert not any("optim" in name for name in found.others)
    if "ema" in inner:
        assert found.others == ("ema",)
        assert read_checkpoint(tmp_path / "a.pt", "ema").tensors["w"][0] == 3
    with pytest.raises(UsageError, match="expected one of the tables"):
        read_checkpoint(tmp_path / "a.pt", "nowhere")


class Trap:
    """An object whose reading would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("pwned"),)


def test_nothing_in_a_checkpoint_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = {"w": torch.tensor([1.0, 2.0])}
    for file, content in {
        "beside": {"state_dict": weights, "extra": Trap()},
        "inside": weights | {"b": Trap()},
    }.items():
        for zipped in (True, False):
            torch.save(content, file, _use_new_zipfile_serialization=zipped)
            assert read_checkpoint(Path(file)).tensors["w"].tolist() == [1.0, 2.0]
    torch.save(Trap(), "alone")
    with pytest.raises(IntegrityError, match="without any"):
        read_checkpoint(Path("alone"))
    assert not Path("pwned").exists()


def test_safetensors_by_other_names_are_read_too(tmp_path: Path) -> None:
    save_file(foreign_state_dict(tiny_network()), tmp_path / "a.safetensors")
    assert len(read_checkpoint(tmp_path / "a.safetensors").tensors) == len(tiny_network().state_dict())
    (tmp_path / "b.safetensors").write_bytes(b"<html>")
    with pytest.raises(IntegrityError, match="an HTML page"):
        read_checkpoint(tmp_path / "b.safetensors")


def test_a_shape_that_occurs_once_on_each_side_is_a_match_and_twice_is_none() -> None:
    like = {"one.weight": torch.zeros(2, 3), "a.weight": torch.zeros(4), "b.weight": torch.zeros(4)}
    theirs = {"x.weight": torch.ones(2, 3), "y.weight": torch.ones(4), "z.weight": torch.ones(4)}
    placed, report = translate(theirs, like, {})
    assert report.renamed == {"x.weight": "one.weight"}
    assert report.missing == ("a.weight", "b.weight")
    assert report.unexpected == ("y.weight", "z.weight")
    assert not report.complete
    assert torch.equal(placed["one.weight"], theirs["x.weight"])
    assert translate({"x.bias": torch.ones(2, 3)}, {"one.weight": torch.zeros(2, 3)}, {})[1].renamed == {}


def test_an_architecture_without_a_table_is_matched_by_name_and_shape() -> None:
    network = small_cnn.build(10)
    theirs = {name.replace("linear", "fc1").replace("head", "fc2"): t for name, t in network.state_dict().items()}
    placed, report = translate(theirs, network.state_dict(), {})
    assert report.complete
    assert (len(report.matched), len(report.renamed)) == (4, 4)
    assert all(torch.equal(placed[name], tensor) for name, tensor in network.state_dict().items())


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    state = foreign_state_dict(tiny_network(), "") | {k: v for k, v in changes.items() if v is not None}
    return {k: v for k, v in state.items() if k not in changes or changes[k] is not None}


def converted(tensors: dict[str, Tensor]) -> Any:
    names = wide_resnet.adopt({name: tuple(t.shape) for name, t in tensors.items()})[1]
    return translate(tensors, tiny_network().state_dict(), names)


def test_needless_and_fillable_tensors_are_reported_and_do_no_harm() -> None:
    old = {name: t for name, t in changed().items() if not name.endswith("num_batches_tracked")}
    placed, report = converted(old | {"sub_block1.layer.0.bn1.weight": torch.ones(16)})
    assert report.complete
    assert report.unused == ("sub_block1.layer.0.bn1.weight",)
    assert len(report.filled) == 7
    tiny_network().load_state_dict(placed)


@pytest.mark.parametrize(
    ("changes", "error", "complaint"),
    [
        ({"fc.bias": torch.full((10,), float("nan"))}, ModelOutputError, "got NaN"),
        ({"fc.bias": torch.zeros(10, dtype=torch.complex64)}, UsageError, "dense real numbers"),
        ({"fc.bias": torch.zeros(10).to_sparse()}, UsageError, "dense real numbers"),
    ],
)
def test_tensors_that_do_not_fit_are_one_sentence(
    changes: dict[str, Tensor], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        converted(changed(**changes))


def test_missing_and_unexpected_tensors_are_told_apart() -> None:
    report = converted(changed(**{"fc.bias": None, "extra.scale": torch.ones(3)}))[1]
    assert (report.missing, report.unexpected) == (("head.bias",), ("extra.scale",))


def test_precision_is_kept_and_doubles_become_floats() -> None:
    placed, _ = converted(changed(**{"fc.bias": torch.ones(10).double(), "fc.weight": torch.ones(10, 64).half()}))
    assert (placed["head.bias"].dtype, placed["head.weight"].dtype) == (torch.float32, torch.float16)


def test_the_same_tensor_under_two_prefixes_is_refused() -> None:
    with pytest.raises(UsageError, match="under two prefixes"):
        strip({"module.a.weight": torch.ones(2), "model.a.weight": torch.ones(2), "b.weight": torch.ones(2)})
