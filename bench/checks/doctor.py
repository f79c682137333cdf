"""Lists what the benchmark needs and whether this machine has it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import NamedTuple

from bench import registry
from bench.core.errors import BenchError, EnvironmentFault
from bench.core.storage.folders import cache_folder, data_folder
from bench.core.storage.packaged import packaged


class Finding(NamedTuple):
    """The state of one requirement, with a remedy if it is missing."""

    subject: str
    ok: bool
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Return the state of versions, device, data, cache and weights."""
    from bench.run.record.environment import packages

    versions = ", ".join(f"{name} {version}" for name, version in packages().items())
    return [
        Finding("python", True, platform.python_version()),
        Finding("packages", True, versions),
        _torchvision(),
        _device(),
        *(_data(name) for name in registry.names("datasets")),
        _writable("cache", cache_folder(), "set BENCH_CACHE to a writable folder"),
        *(_weights(name) for name in registry.names("models")),
    ]


def _torchvision() -> Finding:
    """Import torchvision, which fails if it was built for another torch."""
    try:
        from bench.core.compute import vision
    except Exception as error:  # its operators may fail to load in any way
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        return Finding(
            "torchvision", False, f"cannot be imported: {said}", "install the torchvision that belongs to this torch"
        )
    if vision.MENDED:
        return Finding(
            "torchvision",
            True,
            "built for another torch: this package can import it, a script of yours cannot before `from "
            "bench.core.compute import vision`; better, install the torchvision that belongs to this torch",
        )
    return Finding("torchvision", True, "can be imported")


def _device() -> Finding:
    import torch

    from bench.core.compute.machine import hardware

    if torch.cuda.is_available():
        return Finding("device", True, hardware())
    return Finding("device", True, f"{hardware()}; no GPU, runs take minutes where a GPU takes seconds")


def _data(name: str) -> Finding:
    dataset = registry.load("datasets", name)()
    try:
        if dataset.is_stored():
            return Finding(f"data {name}", True, "present")
        folder = data_folder()
    except EnvironmentFault as error:
        return Finding(f"data {name}", False, *str(error).split("; ", 1))
    return Finding(
        f"data {name}",
        False,
        f"not in {folder}",
        "downloaded when first used; without a network, unpack it there, or name its folder with --data or BENCH_DATA",
    )


def _writable(subject: str, folder: Path, remedy: str) -> Finding:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return Finding(subject, os.access(existing, os.W_OK), str(folder), remedy)


def _weights(name: str) -> Finding:
    from model_zoo.hub import EMBEDDED

    entry = registry.load("models", name)
    if (EMBEDDED / entry.weights.file).exists():
        return Finding(f"model {name}", True, "embedded")
    if entry.weights.origin is not None:
        return Finding(f"model {name}", True, f"published in {entry.weights.origin.repo}, converted at first use")
    if (checkpoint := entry.weights.packaged) is not None:
        try:
            packaged(checkpoint)
        except BenchError as error:
            return Finding(f"model {name}", False, *str(error).split("; ", 1))
        return Finding(f"model {name}", True, f"in the package {checkpoint.package}, converted at first use")
    return Finding(
        f"model {name}", entry.weights.repo is not None, f"on the Hub, {entry.weights.repo}", "restore the file"
    )
