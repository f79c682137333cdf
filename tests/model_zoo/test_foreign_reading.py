"""Reading of the file formats in which networks are published.

Tensors are equal to torch's, and no code of the file runs.
"""

from __future__ import annotations

import argparse
import io
import json
import pickle  # noqa: TID251 what others write
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.io import savemat
from torch import Tensor, nn

from bench.core.errors import EnvironmentFault, IntegrityError
from model_zoo.foreign import reading
from model_zoo.foreign.names import read_checkpoint
from model_zoo.foreign.nature import examine
from model_zoo.foreign.reading import read_tensors

KINDS = {
    "float": torch.tensor([[0.5, -2.0], [1.0, 3.0]]),
    "transposed": torch.arange(6.0).view(2, 3).t(),
    "part": torch.arange(10.0)[3:7],
    "half": torch.tensor([0.5, 1.5]).half(),
    "bfloat16": torch.tensor([0.5, 1.5]).bfloat16(),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "long": torch.tensor([7, -7]),
    "bool": torch.tensor([True, False]),
    "scalar": torch.tensor(3.0),
    "empty": torch.zeros(0, 3),
    "parameter": nn.Parameter(torch.ones(2, 3)),
    "complex": torch.tensor([1 + 2j]),
}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[name].dtype == tensor.dtype and torch.equal(found[name], tensor) for name, tensor in expected.items()
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_tensors_of_every_kind_are_those_that_torch_saved(zipped: bool, tmp_path: Path) -> None:
    kinds = KINDS | ({"uint16": torch.ones(3, dtype=torch.uint16)} if zipped else {})
    torch.save({"state_dict": kinds}, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    tables = read_tensors(tmp_path / "a.pth")
    assert list(tables) == ["state_dict"]
    assert same(tables["state_dict"], kinds)


def network() -> nn.Sequential:
    """Return a small network with each kind of state.

    It has weights, running statistics, a counter and a buffer that is not saved.
    """
    made = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 4 * 4, 2))
    made[1](torch.linspace(0, 1, 2 * 4 * 4).view(2, 4, 2, 2))
    made.register_buffer("passing", torch.zeros(2), persistent=False)
    return made.eval()


@pytest.mark.parametrize("wrap", [lambda m: m, nn.DataParallel], ids=["plain", "parallel"])
def test_a_pickled_module_is_read_as_its_state_dict(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    module = wrap(network())
    torch.save({"net": module}, tmp_path / "a.pth")
    assert same(read_tensors(tmp_path / "a.pth")["net"], module.state_dict())


@pytest.mark.parametrize("form", [lambda m: torch.jit.trace(m, torch.rand(1, 3, 6, 6)), torch.jit.script])
def test_torchscript_is_read_as_its_state_dict_without_its_code(form: Callable[[Any], Any], tmp_path: Path) -> None:
    module = network()
    del module.passing
    form(module).save(tmp_path / "a.pt")
    assert same(read_tensors(tmp_path / "a.pt")[""], module.state_dict())


def test_frozen_torchscript_is_read_from_its_constants(tmp_path: Path) -> None:
    linear = nn.Linear(3, 2).eval()
    torch.jit.freeze(torch.jit.script(linear)).save(tmp_path / "a.pt")
    (table,) = read_tensors(tmp_path / "a.pt").values()
    assert any(torch.equal(tensor, linear.weight) for tensor in table.values())


class Preparation:
    """A class of somebody else's, which is nowhere here."""

    def __init__(self) -> None:
        self.mean = 0.5


def test_tensors_beside_objects_of_unknown_classes_are_read(tmp_path: Path) -> None:
    weights = {"weight": torch.ones(2, 2)}
    options = {"preparation": Preparation(), "function": same, "args": argparse.Namespace(lr=0.1, depth=28)}
    torch.save(
        {"model_params": weights, "options": options, "args": argparse.Namespace(ema={"w": torch.zeros(3)})},
        tmp_path / "a.pt",
    )
    tables = read_tensors(tmp_path / "a.pt")
    assert same(tables["model_params"], weights)
    assert same(tables["args.ema"], {"w": torch.zeros(3)})


def test_of_a_list_of_networks_each_is_a_table_and_the_first_is_taken(tmp_path: Path) -> None:
    cascade = [{"w": torch.full((2,), float(index))} for index in range(3)]
    torch.save({"state_dict": cascade, "indices": [torch.arange(5)], "optimizer": cascade}, tmp_path / "a.pth")
    assert list(read_tensors(tmp_path / "a.pth")) == ["state_dict[0]", "state_dict[1]", "state_dict[2]", "indices"]
    found = read_checkpoint(tmp_path / "a.pth")
    assert (found.table, found.tensors["w"].tolist()) == ("state_dict[0]", [0, 0])
    assert read_checkpoint(tmp_path / "a.pth", "state_dict[2]").tensors["w"].tolist() == [2, 2]


def test_arrays_of_numpy_and_matlab_are_read(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([[1.5]], dtype=">f8")}
    expected = {"w": torch.arange(6.0).view(2, 3), "b": torch.tensor([[1.5]], dtype=torch.float64)}
    np.savez(tmp_path / "a.npz", **arrays, words=np.array(["text"]))
    savemat(tmp_path / "a.mat", arrays | {"words": "text"})
    for file in ("a.npz", "a.mat"):
        assert same(read_tensors(tmp_path / file)[""], expected)


def onnx_file(path: Path) -> dict[str, Tensor]:
    onnx = pytest.importorskip("onnx")
    weights = {"w": torch.tensor([[1.0, 2.0]]), "b": torch.tensor([3.0]).half()}
    stored = [onnx.numpy_helper.from_array(tensor.numpy(), name) for name, tensor in weights.items()]
    graph = onnx.helper.make_graph([], "g", [], [], initializer=stored)
    onnx.save_model(onnx.helper.make_model(graph), path)
    return weights


def test_the_weights_of_onnx_are_read(tmp_path: Path) -> None:
    weights = onnx_file(tmp_path / "a.onnx")
    assert examine(tmp_path / "a.onnx").kind == "onnx"
    assert same(read_tensors(tmp_path / "a.onnx")[""], weights)


def test_onnx_without_its_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08\x12\x07pytorch")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(EnvironmentFault, match=r'pip install "attribution-bench\[onnx\]"'):
        read_tensors(tmp_path / "a.onnx")


def test_weights_of_onnx_in_another_file_are_named(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnx_file(tmp_path / "a.onnx")
    model = onnx.load(tmp_path / "a.onnx")
    onnx.save_model(model, tmp_path / "b.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(IntegrityError, match="lie in another file; join them"):
        read_tensors(tmp_path / "b.onnx")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 45000000\n"
REFUSAL = json.dumps({"error": "Invalid credentials"}).encode()


def checkpoint(**options: Any) -> bytes:
    sink = io.BytesIO()
    torch.save({"weight": torch.rand(100, 100)}, sink, **options)
    return sink.getvalue()


def archive(kind: str) -> bytes:
    sink = io.BytesIO()
    if kind == "tar":
        with tarfile.open(fileobj=sink, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("inside.pth"), io.BytesIO())
    else:
        with zipfile.ZipFile(sink, "w") as zipped:
            zipped.writestr("folder/inside.pth", "x")
    return sink.getvalue()


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b"", r"an empty file \(0 bytes\); download it again"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 45000000\n",
            "a git-lfs pointer to 45000000",
        ),
        (b"<!DOCTYPE html><p>Sign in", "an HTML page, perhaps of a login or an error; open its link in a browser"),
        (
            json.dumps({"error": "Invalid credentials"}).encode(),
            "a JSON text, .*Invalid credentials.*download it again",
        ),
        (b"404: Not Found", "a text, '404: Not Found'; see what it says"),
        (checkpoint()[:20_000], "the first 20000 bytes of an archive that is longer, a truncated download"),
        (
            checkpoint(_use_new_zipfile_serialization=False)[:20_000],
            "cut short .*: 40000 bytes of numbers in a file",
        ),
        (archive("tar"), r"a tar archive of inside\.pth; unpack it"),
        (archive("zip"), r"a zip archive of folder/inside\.pth; unpack it"),
        (b"\x1f\x8b\x08\0\0\0", "a gzip archive; unpack it"),
        (
            b"\x89HDF\r\n\x1a\n",
            "an HDF5 file, .* look for a checkpoint of PyTorch, or save its arrays",
        ),
        (b"\x93NUMPY\x01\0", "a single NumPy array; name a file"),
        (b"\xff\xfe\x00\x01" * 40, "bytes of no known kind; download it again, or name another file"),
        (pickle.dumps({"w": [1.0]}), "a pickle that torch.save did not write"),
    ],
)
def test_what_is_no_checkpoint_is_named_with_a_remedy(body: bytes, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(body)
    with pytest.raises(IntegrityError, match=complaint) as caught:
        read_tensors(tmp_path / "a.pth")
    assert "where it was made" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_kind_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    save_file({"w": torch.ones(2)}, tmp_path / "a.pth")
    torch.save({"w": torch.ones(2)}, tmp_path / "b.safetensors")
    for file in ("a.pth", "b.safetensors"):
        assert same(read_tensors(tmp_path / file)[""], {"w": torch.ones(2)})


def test_a_damaged_number_is_found(tmp_path: Path) -> None:
    body = checkpoint()
    middle = len(body) // 2
    (tmp_path / "a.pth").write_bytes(body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :])
    with pytest.raises(IntegrityError, match="damaged"):
        read_tensors(tmp_path / "a.pth")


def storage(count: int) -> bytes:
    """Return a pickle that names a storage of `count` numbers.

    It has the old form.
    """
    values: tuple[object, ...] = (0x1950A86A20F9469CFC6C, 1001, {})
    heads = [pickle.dumps(value, 2) for value in values]
    pid = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    number = pickle.dumps(count, 2)[2:-1]
    return b"".join(heads) + b"\x80\x02" + pid + number + b"NtQ." + pickle.dumps(["0"], 2)


@pytest.mark.parametrize("count", [2**40, -1])
def test_a_lying_size_costs_no_memory(count: int, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(storage(count))
    with pytest.raises(IntegrityError, match="bytes of numbers in a file of"):
        read_tensors(tmp_path / "a.pth")


def test_a_lying_memo_costs_no_memory(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as zipped:
        zipped.writestr("a/data.pkl", b"\x80\x02Nr\xff\xff\xff\xff.")
    (tmp_path / "a.pth").write_bytes(sink.getvalue())
    with pytest.raises(IntegrityError, match="without any"):
        read_tensors(tmp_path / "a.pth")


def test_lists_in_lists_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_PLACES", 1000)
    inner: Any = [{"w": torch.ones(1)}] * 20
    for _ in range(3):
        inner = [inner] * 20
    torch.save(inner, tmp_path / "a.pth")
    with pytest.raises(IntegrityError, match="more than 1000 objects"):
        read_tensors(tmp_path / "a.pth")
