"""Settings of how runs are computed and shown.

None of them is part of a run's identity. On a CPU none but `compiled` changes a number; a GPU rounds differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Interface

import torch

from bench.core.compute.chunks import CPU_NODES_IN_FLIGHT
from bench.core.compute.machine import pick_device
from bench.core.storage.store import Store

GPU_BATCH = 256
"""Default number of images that an attack sees at once on a GPU: fewer do not fill it."""


@dataclass(frozen=True)
class Execution:
    """Settings of a computation that are not part of its identity."""

    store: Store
    work: Path
    """Folder of unfinished work: finished shards stay there until their run is complete."""
    device: str = "auto"
    batch_size: int | None = None
    """Images that an attack sees at once; by default 40 on a CPU, 256 on a GPU."""
    showcase: bool = True
    """Whether showcase images are kept for the pages."""
    memory: int | None = None
    """Memory limit in bytes for gradient graphs; default: most of the free memory."""
    compiled: bool = False
    """Whether the derivatives of searches are compiled; as on another device, results round differently."""

    def together(self, shards: int, size: int) -> Iterator[range]:
        """Group shards, in order, into batches large enough to fill a GPU.

        On a CPU a few images suffice, and each batch has one shard, so that a killed process loses little work.
        """
        on_gpu = pick_device(self.device).type == "cuda"
        step = max(1, (self.batch_size or GPU_BATCH) // size) if on_gpu else 1
        for start in range(0, shards, step):
            yield range(start, min(start + step, shards))

    def images_at_once(self, device: torch.device) -> int:
        """Return how many images an attack sees at once."""
        return self.batch_size or (CPU_NODES_IN_FLIGHT if device.type == "cpu" else GPU_BATCH)


class Observer(Interface):
    """A display of a run's progress."""

    def start(self, title: str, total: int, done: int) -> None:
        """Begin a run of `total` images, `done` of which earlier processes finished."""

    def advance(self, images: int) -> None:
        """Count more images as finished."""

    def say(self, text: str) -> None:
        """Show a remark."""
