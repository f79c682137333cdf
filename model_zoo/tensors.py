"""Reads and writes networks' tensors as safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from bench.core.errors import IntegrityError, ModelOutputError
from bench.core.schemas.entry import Weights
from bench.core.storage.files import sha256_of, write_atomic
from model_zoo.foreign.nature import in_place_of

STORED_FLOATS = (torch.float32, torch.float16, torch.bfloat16)
"""Dtypes in which a file may store floating-point tensors."""


def read_weights(path: Path, like: Mapping[str, Tensor], *, sha256: str | None = None) -> dict[str, Tensor]:
    """Read safetensors in the names, shapes and dtypes of `like`.

    Floating-point tensors may be stored as float16 or bfloat16; they come back in the dtype of `like`.

    Raises:
        IntegrityError: if the bytes do not have the SHA-256, if given, or are no safetensors, or a tensor is missing,
            unexpected, of another shape or kind, or not finite.
    """
    content = path.read_bytes()
    if sha256 is not None and (actual := sha256_of(content)) != sha256:
        raise IntegrityError(f"expected {path} to have the sha256 {sha256[:12]}…, got {actual[:12]}…; restore the file")
    try:
        stored = load_tensors(content)
    except SafetensorError as error:
        raise IntegrityError(
            f"expected safetensors in {path}, got: {error}{in_place_of(path)}; restore the file"
        ) from error
    for what, names in (("missing", like.keys() - stored.keys()), ("unexpected", stored.keys() - like.keys())):
        if names:
            some = ", ".join(sorted(names)[:3]) + (" …" if len(names) > 3 else "")
            raise IntegrityError(
                f"expected the {len(like)} tensors of this architecture in {path}, got {len(names)} {what}: {some}; "
                "correct the entry's architecture or its weights"
            )
    for name, tensor in stored.items():
        if (wrong := _objection(tensor, like[name])) is not None:
            raise IntegrityError(
                f"expected {wrong} for {name} in {path}; correct the entry's architecture or its weights"
            )
    return {name: tensor.to(like[name].dtype) for name, tensor in stored.items()}


def _objection(tensor: Tensor, like: Tensor) -> str | None:
    if tensor.shape != like.shape:
        return f"the shape {tuple(like.shape)}, got {tuple(tensor.shape)}"
    allowed = STORED_FLOATS if like.is_floating_point() else (like.dtype,)
    if tensor.dtype not in allowed:
        return f"one of the dtypes {', '.join(map(str, allowed))}, got {tensor.dtype}"
    return None if bool(torch.isfinite(tensor).all()) else "finite numbers, got NaN or infinity"


def export_weights(network: nn.Module, path: Path) -> Weights:
    """Write a network (without normalisation) as safetensors.

    Floats are stored as float16; equal tensors give equal bytes.

    Returns:
        What the model's entry must say of the file.
    Raises:
        ModelOutputError: if a number is not finite, or not in the range of float16.
    """
    tensors = {}
    for name, tensor in network.state_dict().items():
        half = tensor.detach().cpu()
        half = (half.half() if half.is_floating_point() else half).contiguous()
        if not torch.isfinite(half).all():
            raise ModelOutputError(
                f"expected numbers in the range of float16 in {name}, got others; the training diverged: "
                "lower its learning rate"
            )
        tensors[name] = half
    content, weights = pack(tensors, path.name)
    write_atomic(path, content)
    return weights


def pack(tensors: Mapping[str, Tensor], file: str) -> tuple[bytes, Weights]:
    """Return tensors as safetensors bytes, and the entry's weights section.

    The tensors must be contiguous.
    """
    content = save_tensors(dict(sorted(tensors.items())))
    return content, Weights(file=file, sha256=sha256_of(content), size=len(content))
