"""Recognises files by their first bytes and structure, not their names."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile, ZipFile

from bench.core.text import printable

START = 512
AGAIN = "download it again"
SHOWN = 80
"""Largest number of characters of a file that a message shows."""


class Nature(NamedTuple):
    """The nature of a file, and advice for its user."""

    kind: str
    """Key of the reader. It is empty, `text` or `unknown` where no reader exists."""
    what: str
    remedy: str = ""


UNPACK = "unpack it, and name the checkpoint inside"
ARRAYS = "look for a checkpoint of PyTorch, or save its arrays with numpy.savez"
SIGNATURES: tuple[tuple[bytes, Nature], ...] = (
    (rb"\x80[\x02-\x05]", Nature("pickle", "a PyTorch checkpoint of the old form")),
    (rb".{5}\0\0\0\{", Nature("safetensors", "safetensors")),
    (rb"MATLAB 5\.0 MAT-file", Nature("matlab", "a MATLAB file")),
    (rb"\x08[\x01-\x20][\x12\x1a\x22\x2a\x32\x3a\x42]", Nature("onnx", "an ONNX model")),
    (rb"\x89HDF\r\n", Nature("", "an HDF5 file, as Keras and MATLAB 7.3 write it", ARRAYS)),
    (rb".{4}TFL3", Nature("", "a TensorFlow Lite model", ARRAYS)),
    (rb"\x93NUMPY", Nature("", "a single NumPy array", "name a file of all arrays, as numpy.savez writes it")),
    (rb"\x1f\x8b", Nature("", "a gzip archive", UNPACK)),
    (rb"BZh", Nature("", "a bzip2 archive", UNPACK)),
    (rb"\xfd7zXZ", Nature("", "an xz archive", UNPACK)),
    (rb"7z\xbc\xaf", Nature("", "a 7z archive", UNPACK)),
    (rb"Rar!", Nature("", "a RAR archive", UNPACK)),
    (rb"%PDF", Nature("", "a PDF", "name the checkpoint")),
    (rb"\x89PNG", Nature("", "an image", "name the checkpoint")),
)
"""Patterns of the first bytes. ONNX has no fixed first bytes: its pattern is the version and the tag of the next field.
"""


def examine(path: Path) -> Nature:
    """Return the type of a file."""
    with path.open("rb") as file:
        start = file.read(START)
    if not start:
        return Nature("", "an empty file (0 bytes)", AGAIN)
    if start.startswith(b"PK\x03\x04"):
        return _archive(path)
    if start[257:262] == b"ustar":
        return _tar(path)
    found = _signed(start) or _text(start)
    return found or Nature("unknown", "bytes of no known kind", f"{AGAIN}, or name another file")


def _signed(start: bytes) -> Nature | None:
    """Recognise a file by its first bytes or its header."""
    for pattern, nature in SIGNATURES:
        if re.match(pattern, start, re.DOTALL):
            return nature
    return None


def is_data(name: str) -> bool:
    """Return whether `torch.save` keeps its pickle in an archive's member."""
    return name == "data.pkl" or (name.endswith("/data.pkl") and name.count("/") == 1)


def in_place_of(path: Path, wanted: str = "the file") -> str:
    """Return in brackets what the file is, if it can be recognised.

    It lies in the place of safetensors or of an entry.
    """
    found = examine(path)
    if found.kind in {"safetensors", "text", "unknown"}:
        return ""
    code = ", which may run code," if found.kind in {"torch", "torchscript", "pickle"} else ""
    return f" ({found.what}{code} in place of {wanted}: {found.remedy or 'bench submit convert'})"


def _archive(path: Path) -> Nature:
    size = path.stat().st_size
    try:
        with ZipFile(path) as archive:
            names = archive.namelist()
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return Nature(
            "", f"the first {size} bytes of an archive that is longer, a truncated download or a damaged file", AGAIN
        )
    if any(is_data(name) for name in names):
        script = any(name.endswith("constants.pkl") for name in names)
        return Nature(
            "torchscript" if script else "torch", "a TorchScript archive" if script else "a PyTorch checkpoint"
        )
    if names and all(name.endswith(".npy") for name in names):
        return Nature("npz", "NumPy arrays")
    return Nature("", f"a zip archive of {_few(names)}", "unpack it, and name the checkpoint inside")


def _tar(path: Path) -> Nature:
    try:
        with tarfile.open(path) as archive:
            names = archive.getnames()
    except (tarfile.TarError, OSError, ValueError):
        return Nature("", "a damaged or truncated tar archive", AGAIN)
    if {"pickle", "storages", "tensors"} <= set(names):
        return Nature(
            "", "a checkpoint of PyTorch before 0.2, a tar archive", "open it with PyTorch 0.4, and save it again"
        )
    return Nature("", f"a tar archive of {_few(names)}", "unpack it, and name the checkpoint inside")


def _text(start: bytes) -> Nature | None:
    text = start.decode("utf-8", errors="replace").strip()
    if "\ufffd" in text[:-4] or "\0" in text:
        return None
    low = text.lower()
    if low.startswith(("<!doctype html", "<html")):
        return Nature(
            "",
            "an HTML page, perhaps of a login or an error",
            "open its link in a browser, and download the file itself",
        )
    if low.startswith("version https://git-lfs"):
        meant = re.search(r"^size (\d+)", text, re.MULTILINE)
        of = f" to {meant[1]} bytes" if meant else ""
        return Nature(
            "", f"a git-lfs pointer{of}", "run git lfs pull in its repository, or download the file from its web page"
        )
    quoted = printable(" ".join(text.split()))[:SHOWN]
    kind = "a JSON text" if low.startswith(("{", "[")) else "a text"
    return Nature("" if kind == "a JSON text" else "text", f"{kind}, {quoted!r}", f"see what it says, then {AGAIN}")


def _few(names: list[str]) -> str:
    shown = ", ".join(printable(name)[:SHOWN] for name in names[:3])
    return f"{shown}{f' and {len(names) - 3} more' if len(names) > 3 else ''}" if names else "nothing"
