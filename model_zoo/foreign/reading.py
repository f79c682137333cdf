"""Reads tensors from published files without running their code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load as load_safetensors
from torch import Tensor

from bench.core.errors import BenchError, IntegrityError, UsageError
from model_zoo.extras import extra
from model_zoo.foreign.nature import examine
from model_zoo.foreign.pickles import Inert, read_archive, read_legacy

Table = dict[str, Tensor]
MAX_PLACES = 100_000
"""Largest number of dictionaries, lists and objects in one file. A file with more is a trap."""

MAX_DEPTH = 4
"""Largest depth of nested dictionaries. Networks lie less deep."""


def read_tensors(path: Path) -> dict[str, Table]:
    """Return every table of named tensors of a file by place.

    It reads checkpoints of PyTorch (old and new, also of whole modules), TorchScript, safetensors, NumPy's npz, MATLAB
    5 and, with the extra `onnx`, ONNX. It skips objects of other classes.

    Args:
        path: the file. Its content tells its type; its name does not count.
    Returns:
        Tables by their places: "" for the file itself, `state_dict`, `state_dict[0]`, `ema.module`.
    Raises:
        UsageError: if there is no such file.
        IntegrityError: if it is not a checkpoint, is damaged, or holds no tensors.
        EnvironmentFault: if it is ONNX and the extra is missing.
    """
    if not path.is_file():
        raise UsageError(f"expected a checkpoint at {path}, got no file; correct the path")
    nature = examine(path)
    if (read := READERS.get(nature.kind)) is None:
        raise IntegrityError(f"expected a checkpoint in {path}, got {nature.what}; {nature.remedy}")
    try:
        tables = read(path)
    except BenchError:
        raise
    except Exception as error:  # a damaged file can fail in any way
        reason = str(error).strip().split("\n")[0][:200].rstrip(".") or type(error).__name__
        raise IntegrityError(
            f"expected {nature.what} in {path}, got one that is damaged, cut short or not of PyTorch: {reason}; "
            "download it again"
        ) from error
    if not tables:
        raise IntegrityError(
            f"expected named tensors in {path}, got {nature.what} without any; name the file that holds the weights"
        )
    return tables


def _pickled(read: Callable[[Path], object]) -> Callable[[Path], dict[str, Table]]:
    return lambda path: tables_of(read(path))


def _script(path: Path) -> dict[str, Table]:
    """Return the tensors of TorchScript.

    A frozen one keeps them among its constants.
    """
    return tables_of(read_archive(path)) or tables_of({"constants": read_archive(path, "constants")})


def _safetensors(path: Path) -> dict[str, Table]:
    return {"": load_safetensors(path.read_bytes())}


def _npz(path: Path) -> dict[str, Table]:
    with np.load(path, allow_pickle=False) as arrays:
        return _numeric({name: arrays[name] for name in arrays.files})


def _matlab(path: Path) -> dict[str, Table]:
    from scipy.io import loadmat

    return _numeric({name: value for name, value in loadmat(path).items() if not name.startswith("__")})


def _onnx(path: Path) -> dict[str, Table]:
    with extra("onnx"):
        import onnx
    model = onnx.load_model(str(path), load_external_data=False)
    outside = [each.name for each in model.graph.initializer if each.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise IntegrityError(
            f"expected the weights inside {path}, got a model whose weights ({len(outside)}) lie in another file; "
            "join them with onnx.save_model(onnx.load(FILE), NEW_FILE)"
        )
    return _numeric({each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer})


READERS: Mapping[str, Callable[[Path], dict[str, Table]]] = {
    "torch": _pickled(read_archive),
    "torchscript": _script,
    "pickle": _pickled(read_legacy),
    "safetensors": _safetensors,
    "npz": _npz,
    "matlab": _matlab,
    "onnx": _onnx,
}


def _numeric(arrays: Mapping[str, object]) -> dict[str, Table]:
    """Return arrays of numbers as one table.

    Other arrays are skipped.
    """
    found = {
        name: torch.from_numpy(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")).copy())
        for name, array in arrays.items()
        if isinstance(array, np.ndarray) and array.dtype.kind in "fiub" and array.dtype.itemsize <= 8
    }
    return {"": found} if found else {}


def tables_of(value: object) -> dict[str, Table]:
    """Return every table of named tensors by its place.

    Tables may lie inside nested dictionaries, lists and objects.
    """
    places = list(islice(_places(value, "", 0), MAX_PLACES + 1))
    if len(places) > MAX_PLACES:
        raise ValueError(f"more than {MAX_PLACES} objects inside one another")
    return {name: table for name, table in places if any(tensor.ndim for tensor in table.values())}


def _places(value: object, name: str, depth: int) -> Iterator[tuple[str, Table]]:
    """Yield the containers with the tensors that they hold.

    A module holds all tensors below it.
    """
    if isinstance(value, Inert) and _is_module(value):
        yield name, dict(islice(_state_dict(value, ""), MAX_PLACES + 1))
        return
    inner = _inner(value)
    yield name, {key: t for key, t, _ in inner if isinstance(t, Tensor)}
    if depth < MAX_DEPTH:
        for key, nested, step in inner:
            # an optimiser's moments have the shapes of the network
            if isinstance(nested, dict | list | tuple | Inert) and not key.startswith("optim"):
                yield from _places(nested, f"{name}{step}" if name else step.removeprefix("."), depth + 1)


def _inner(value: object) -> list[tuple[str, object, str]]:
    """Return the keys, values and written places in a container."""
    if isinstance(value, dict):
        return [(str(key), nested, f".{key}") for key, nested in value.items()]
    if isinstance(value, list | tuple):
        return [(str(index), nested, f"[{index}]") for index, nested in enumerate(value)]
    if isinstance(value, Inert):
        return _inner({**value.content, **value.attributes}) or _inner(value.arguments)
    return []


def _is_module(value: Inert) -> bool:
    return value.origin.startswith("__torch__.") or {"_parameters", "_modules"} <= value.attributes.keys()


def _state_dict(module: Inert, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Yield what a module's `state_dict` would hold.

    For a script these are all tensors.
    """
    attributes = module.attributes
    if "_modules" in attributes:
        passing = attributes.get("_non_persistent_buffers_set", ())
        buffers = _inner(attributes.get("_buffers"))
        own = _inner(attributes.get("_parameters")) + [one for one in buffers if one[0] not in _names(passing)]
        children = _inner(attributes["_modules"])
    else:
        own = children = _inner(attributes)
    yield from ((prefix + key, value) for key, value, _ in own if isinstance(value, Tensor))
    for key, child, _ in children:
        if isinstance(child, Inert) and _is_module(child):
            yield from _state_dict(child, f"{prefix}{key}.")


def _names(values: object) -> set[object]:
    return set(values) if isinstance(values, set | frozenset | list | tuple) else set()
