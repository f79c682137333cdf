"""Hostile weights and checkpoints.

Safetensors have false headers, and pickles try to run code.
"""

from __future__ import annotations

import io
import json
import pickle  # noqa: TID251 what an attacker writes
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from bench.core.storage.files import sha256_of
from tests.hostile.conftest import Fuzz, Sandbox
from tests.hostile.guard import CANARY
from tests.hostile.mutations import mutated, scrambled
from tests.support.tiny import residual_content, tiny_network, write_entry


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The header of a safetensors file, and its data."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header: Any, data: bytes, length: int | None = None) -> bytes:
    """Write a safetensors file whose header claims `length` bytes."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", (len(text) if length is None else length) % 2**64) + text + data


def headers(content: bytes) -> st.SearchStrategy[bytes]:
    """Draw files whose header contradicts their data.

    Names, types, shapes, places or the length differ.
    """
    header, data = split(content)
    cut = st.sampled_from((data, data[:-1], data + b"\0", b""))
    lies = st.builds(joined, mutated(header, nullable=True), cut)
    lengths = st.builds(joined, st.just(header), cut, st.sampled_from((0, 1, 2**31, 2**63, 2**64 - 1)) | st.integers())
    return st.one_of(lies, lies, lies, lengths, scrambled(content))


def test_safetensors(sandbox: Sandbox, fuzz: Fuzz) -> None:
    """Write an entry that promises exactly these bytes.

    So the reader itself meets them.
    """
    entry = residual_content(sandbox.folder)
    path = sandbox.folder / entry["weights"]["file"]

    @fuzz(80, 2000, headers(path.read_bytes()))
    def answers(content: bytes) -> None:
        path.write_bytes(content)
        entry["weights"] |= {"sha256": sha256_of(content), "size": max(1, len(content))}
        sandbox.call("verify", f"file:{write_entry(sandbox.folder, entry)}")


class Bomb:
    """Runs code when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def pickles() -> st.SearchStrategy[bytes]:
    """Pickles of state dicts in which something waits for an unpickler."""
    bombs = [
        Bomb(eval, f"open({CANARY!r}, 'w')"),
        Bomb(exec, f"import os; os.system('touch {CANARY}')"),
        Bomb(__import__("os").system, f"touch {CANARY}"),
        Bomb(Path.touch, Path(CANARY)),
        Bomb(torch.load, CANARY),  # noqa: TID251
        Bomb(__import__, "antigravity"),
    ]
    keys = st.sampled_from(("state_dict", "model", "stem.weight", "", "\0", "a.b")) | st.text(max_size=4)
    leaves = st.one_of(
        st.sampled_from(bombs),
        st.builds(torch.zeros, st.lists(st.integers(0, 3), max_size=4)),
        st.sampled_from((torch.nn.Linear, None, 1, "text", float("nan"))),
    )
    tables = st.recursive(leaves, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=4)
    return st.builds(saved, tables, st.sampled_from(("torch", "pickle", "zip")))


def saved(content: Any, form: str) -> bytes:
    """What `torch.save`, `pickle.dump` or a hand-made archive writes."""
    sink = io.BytesIO()
    if form == "torch":
        torch.save(content, sink)
    elif form == "pickle":
        sink.write(pickle.dumps(content))
    else:
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(content))
            archive.writestr(f"../../{CANARY}", "outside")
    return sink.getvalue()


def test_checkpoints(sandbox: Sandbox, fuzz: Fuzz) -> None:
    honest = io.BytesIO()
    torch.save({"state_dict": tiny_network().state_dict()}, honest)
    path = sandbox.folder / "checkpoint.pth"

    @fuzz(60, 1500, st.one_of(pickles(), pickles(), scrambled(honest.getvalue())))
    def answers(content: bytes) -> None:
        path.write_bytes(content)
        words = ("--architecture", "wide-resnet", "--method", "x", "--license", "MIT", "--name", "tiny")
        sandbox.call("submit", "convert", str(path), *words, "--out", str(sandbox.folder / "out"))


def test_an_honest_checkpoint_is_converted(sandbox: Sandbox) -> None:
    torch.save({"state_dict": tiny_network().state_dict()}, sandbox.folder / "checkpoint.pth")
    words = (
        "--architecture",
        "wide-resnet",
        "--set",
        "depth=10",
        "--set",
        "width=1",
        "--method",
        "x",
        "--license",
        "MIT",
    )
    assert sandbox.call("submit", "convert", "checkpoint.pth", *words, "--out", "out", "--name", "tiny")[0] == 0
