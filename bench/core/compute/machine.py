"""Describes this machine and sets it up for fast, repeatable computation."""

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
    """Tell glibc to keep freed memory.

    On CPUs, mapping the memory again takes up to half of a training step's time.
    """
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
    """Round subnormal numbers to zero in this thread and torch's worker threads.

    Each thread has its own setting, and new threads inherit it. GNU's OpenMP reaches the threads that torch has already
    started: otherwise, in a process that has computed before, an image's last bit would depend on its thread.
    """
    torch.set_flush_denormal(True)
    try:
        parallel = ctypes.CDLL(None).GOMP_parallel
    except (OSError, AttributeError):
        return
    parallel(_FLUSH, None, torch.get_num_threads(), 0)


def pick_device(wanted: str = "auto") -> torch.device:
    """Return the device to compute on, with this process set up.

    `auto` is a GPU where there is one, else the CPU. On CPUs the tails of softplus underflow: subnormal numbers, which
    processors handle slowly, become zeros. On GPUs float32 keeps its full precision, which torch's convolutions reduce
    by default, and equal batches give equal bits.

    Raises:
        UsageError: if `wanted` does not name a device.
        EnvironmentFault: if this machine lacks the device.
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
    """Run a block in which GPUs may multiply in TF32, if wanted.

    TF32 is float32 with ten bits of mantissa. A CPU never uses it.
    """
    if wanted:
        _shorten(True)
    try:
        yield
    finally:
        if wanted:
            _shorten(False)


def is_shortened() -> bool:
    """Return whether GPUs multiply in TF32 now."""
    return bool(torch.backends.cudnn.allow_tf32)


def _shorten(allowed: bool) -> None:
    # torch has two interfaces for this. Once the newer is used, reading the older raises, and libraries read the older.
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def forget_peak_memory(device: torch.device) -> None:
    """Reset the peak memory of a GPU.

    The peak memory of a process cannot be reset.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes.

    On a GPU it is the memory of torch's tensors, else that of this process.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16.

    A CPU without them is ten times slower in bfloat16.
    """
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
