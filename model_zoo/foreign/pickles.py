"""Reads PyTorch's pickles as data, and runs no code of them."""

from __future__ import annotations

import io
import pickle  # noqa: TID251 the one place that reads a pickle; it can make tensors and inert objects only
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import Tensor

from model_zoo.foreign.nature import is_data

MAGIC = 0x1950A86A20F9469CFC6C
"""First number of a file that `torch.save` wrote before PyTorch 1.6."""

DTYPES = {name: value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}


class Inert:
    """A stand-in for an object of the file, which runs no code."""

    origin: ClassVar[str] = ""
    """Name of the class or function."""

    arguments: list[object]
    state: object
    """The state that the object would be restored from."""
    content: dict[object, object]
    """The items that the object would have as a dictionary."""

    def __new__(cls, *args: object, **_: object) -> Inert:  # noqa: D102 any call makes one, with or without __init__
        made = super().__new__(cls)
        made.arguments, made.state, made.content = list(args), None, {}
        return made

    def __call__(self, *args: object, **_: object) -> Inert:
        """Return the stand-in itself as the result of a method call."""
        return Inert(*args)

    def __setitem__(self, key: object, value: object) -> None:
        self.content[key] = value

    def append(self, value: object) -> None:
        """Keep a value that a list or a set would keep."""
        self.arguments.append(value)

    add = append

    @property
    def attributes(self) -> dict[object, object]:
        """Return the attributes that the object would have, without its slots."""
        state = self.state[0] if isinstance(self.state, tuple) and self.state else self.state
        return state if isinstance(state, dict) else {}


class _Ordered(dict[object, object]):
    """A stand-in for an OrderedDict."""


def _rebuilt(storage: object, offset: int, size: Any, stride: Any, *_: object) -> object:
    if not isinstance(storage, Tensor):
        return Inert()  # a quantised tensor
    return storage.as_strided(tuple(size), tuple(stride), offset)  # raises an error outside the storage


def _rebuilt_as(storage: object, offset: int, size: Any, stride: Any, *more: Any) -> object:
    typed = storage.view(more[2]) if isinstance(storage, Tensor) else storage  # after gradient and hooks, the dtype
    return _rebuilt(typed, offset, size, stride)


def _members(values: Any = ()) -> list[object]:
    return list(values)


def _first(value: object, *_: object) -> object:
    return value


def _rebuilt_by(function: Callable[..., object], _: object, arguments: Any, *__: object) -> object:
    return function(*arguments)


ALLOWED: Mapping[str, Callable[..., object]] = {
    "collections.OrderedDict": _Ordered,
    "builtins.set": _members,
    "__builtin__.set": _members,
    "builtins.frozenset": _members,
    "__builtin__.frozenset": _members,
    "torch.Size": tuple,
    "torch._utils._rebuild_tensor": _rebuilt,
    "torch._utils._rebuild_tensor_v2": _rebuilt,
    "torch._utils._rebuild_tensor_v3": _rebuilt_as,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch._tensor._rebuild_from_type": _rebuilt_by,
    "torch._tensor._rebuild_from_type_v2": _rebuilt_by,
}
"""All functions that a pickle may name. Our functions run in their place; every other name gives an inert class."""


class _Reader(pickle._Unpickler):  # the Python version: a wrong index costs no memory
    """A reader that builds tensors, plain values and inert objects."""

    stack: list[Any]

    def __init__(self, file: BinaryIO, storage: Callable[..., object]) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        """Return our function for a rebuild function of torch.

        Other names give an inert class.
        """
        if module in {"torch", "torch.storage"} and name in STORAGES:
            return STORAGES[name]
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        full = f"{module}.{name}"
        return ALLOWED[full] if full in ALLOWED else type("Inert", (Inert,), {"origin": full})

    def persistent_load(self, pid: Any) -> object:
        """Return the storage of a tensor."""
        kind, *what = pid
        return self._storage(*what) if kind == "storage" else _first(*what)

    def load_build(self) -> None:
        """Keep the state of an inert object, and ignore any other state."""
        state = self.stack.pop()
        if isinstance(self.stack[-1], Inert):
            self.stack[-1].state = state

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {**pickle._Unpickler.dispatch, pickle.BUILD[0]: load_build}


def read_archive(path: Path, part: str = "data") -> object:
    """Return the content of a zip archive by `torch.save`.

    It may also be one part of what TorchScript saved.
    """
    with ZipFile(path) as archive:
        folder = next(name for name in archive.namelist() if is_data(name)).removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("numbers in big-endian order")
        return _unpacked(archive, folder, part)


def _unpacked(archive: ZipFile, folder: str, part: str) -> object:
    known: dict[str, Tensor] = {}

    def storage(dtype: object, key: str, _: object, count: int, *__: object) -> object:
        if not isinstance(dtype, torch.dtype):
            return Inert()
        if key not in known:
            known[key] = _flat(_member(archive, f"{folder}{part}/{key}"), dtype)
        if len(known[key]) < count:
            raise ValueError(f"{len(known[key])} numbers in the place of {count}")
        return known[key]

    return _Reader(io.BytesIO(_member(archive, f"{folder}{part}.pkl")), storage).load()


def _member(archive: ZipFile, name: str) -> bytes:
    if archive.getinfo(name).compress_type != ZIP_STORED:
        raise ValueError(f"{name} compressed, which torch.save never does")
    return archive.read(name)


def _flat(content: bytes, dtype: torch.dtype) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=dtype) if content else torch.empty(0, dtype=dtype)


def read_legacy(path: Path) -> object:
    """Return the content of a file by `torch.save` before PyTorch 1.6.

    Such a file has pickles one after the other, then the numbers.
    """
    limit, storages = path.stat().st_size, dict[str, Tensor]()

    def storage(dtype: object, key: str, _: object, count: int, view: Any = None) -> object:
        if not isinstance(dtype, torch.dtype):
            return Inert()
        if not 0 <= count * dtype.itemsize <= limit:
            raise ValueError(f"{count * dtype.itemsize} bytes of numbers in a file of {limit}")
        whole = storages.setdefault(key, torch.zeros(count, dtype=dtype))
        return whole if view is None else whole[view[1] : view[1] + view[2]]

    with path.open("rb") as file:
        if _Reader(file, storage).load() != MAGIC:
            raise ValueError("a pickle that torch.save did not write")
        *_, value, keys = (_Reader(file, storage).load() for _ in range(4))  # after the format's version and the system
        for key in _texts(keys):
            _fill(storages[key], file)
    return value


def _texts(keys: object) -> Iterator[str]:
    if not isinstance(keys, list):
        raise ValueError("no list of storages")
    yield from (str(key) for key in keys)


def _fill(storage: Tensor, file: BinaryIO) -> None:
    count = int.from_bytes(file.read(8), "little")
    content = file.read(count * storage.dtype.itemsize) if count == len(storage) else b""
    if len(content) < storage.nbytes:
        raise EOFError("the numbers end too early")
    storage.copy_(_flat(content, storage.dtype))
