"""What this machine is, and the settings under which it computes well."""

from __future__ import annotations

import ctypes
import platform
import re
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from bench.core.errors import EnvironmentFault, UsageError
from bench.core.text import counted


def _keep_freed_memory() -> None:
    """Tell glibc to keep freed memory: on CPUs, mapping it anew costs up to half of a training step's time."""
    if not sys.platform.startswith("linux"):
        return
    trim_threshold, top_pad, mmap_max = -1, -2, -4
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**28)


_FLUSH = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: torch.set_flush_denormal(True))


def _flush_subnormals() -> None:
    """Let subnormal numbers be zero in this thread and, by GNU's OpenMP, in those that torch has started for it.

    The setting belongs to a thread, and later ones inherit it: without this, an image's last bit would depend on which
    thread it fell to in a process that computed anything before.
    """
    torch.set_flush_denormal(True)
    try:
        parallel = ctypes.CDLL(None).GOMP_parallel
    except (OSError, AttributeError):
        return
    parallel(_FLUSH, None, torch.get_num_threads(), 0)


def pick_device(wanted: str = "auto") -> torch.device:
    """Return the device to compute on, the named one or a GPU where there is one, and set this process up for it.

    On CPUs the tails of softplus underflow: subnormal numbers, which processors handle slowly, become zeros. On GPUs
    float32 is float32, which torch's convolutions otherwise shorten, and equal batches give equal bits.

    Raises:
        UsageError: if there is no such kind of device.
        EnvironmentFault: if this machine lacks it.
    """
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if (named := re.fullmatch(r"cpu|(cuda)(?::([0-9]{1,3}))?", wanted, re.ASCII)) is None:
        raise UsageError(f"expected auto, cpu, cuda or cuda:N for --device, got {wanted!r}")
    if named[1] and int(named[2] or 0) >= (found := torch.cuda.device_count()):
        raise EnvironmentFault(f"expected the GPU {wanted}, got {found} of them on this machine; choose --device cpu")
    _keep_freed_memory()
    _flush_subnormals()
    device = torch.device(wanted)
    if device.type == "cuda":
        _shorten(False)
        torch.backends.cudnn.deterministic = True
    return device


@contextmanager
def shortened(wanted: bool) -> Iterator[None]:
    """Run a block in which a GPU may multiply float32 with ten bits of mantissa (TF32), if wanted; a CPU never does."""
    if wanted:
        _shorten(True)
    try:
        yield
    finally:
        if wanted:
            _shorten(False)


def is_shortened() -> bool:
    """Whether GPUs multiply in TF32 now."""
    return bool(torch.backends.cudnn.allow_tf32)


def _shorten(allowed: bool) -> None:
    # By the older of torch's two ways: after the newer one, whoever reads the older, as libraries do, gets an error.
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def forget_peak_memory(device: torch.device) -> None:
    """Begin to look for a GPU's peak anew; a process keeps its own."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Return the bytes of memory that were held at the most: by torch's tensors on a GPU, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 by instructions of its own; a CPU without them is ten times slower so."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))


def hardware() -> str:
    """Return the processor that computes, in words."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{_cpu_name()}, {counted(torch.get_num_threads(), 'thread')}"


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
