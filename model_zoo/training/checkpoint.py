"""A training's state in one safetensors file with a checksum."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from bench.core.errors import IntegrityError
from bench.core.storage.files import write_atomic


class Checkpoint(NamedTuple):
    """Named tensors, and a state of JSON values."""

    tensors: dict[str, Tensor]
    state: dict[str, Any]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with a prefix, without it."""
        return {k.removeprefix(prefix): v for k, v in self.tensors.items() if k.startswith(prefix)}


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write the file atomically, with a checksum of its content."""
    tensors = {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}
    text = json.dumps(checkpoint.state)
    write_atomic(path, save_tensors(tensors, {"state": text, "sha256": checksum(tensors, text)}))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the file.

    Raises:
        IntegrityError: if it is no checkpoint, or not as it was written.
    """
    content = path.read_bytes()
    try:
        tensors = load_tensors(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        text, promised = header["__metadata__"]["state"], header["__metadata__"]["sha256"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise IntegrityError(f"expected a checkpoint in {path}, got {error!r}; delete it to start again") from None
    if checksum(tensors, text) != promised:
        raise IntegrityError(f"expected a checkpoint in {path}, got one with damaged bytes; delete it to start again")
    return Checkpoint(tensors, json.loads(text))


def checksum(tensors: Mapping[str, Tensor], text: str = "") -> str:
    """Return the SHA-256 of a text and of named tensors.

    The tensors are on the CPU.
    """
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
