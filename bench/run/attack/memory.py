"""A budget of memory, and how many nodes of a network fit into it; what happens where it was set too high."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from bench.core.compute.chunks import CPU_BATCH, at_most, nodes_in_flight
from bench.core.errors import EnvironmentFault, UsageError
from bench.core.faults import is_out_of_memory

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
SHARE = 0.8
"""Of the memory that is free, what a run may take where nobody says."""
PASSES = 2.0
"""Memory of a Hessian-vector product in saved tensors of its graph: the second backward pass holds its own beside."""

Result = TypeVar("Result")


def parse(text: str) -> int:
    """Return the bytes of a size such as "2GB" or "512 MiB".

    Raises:
        UsageError: if it is no size.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    if found is None or found[2] not in UNITS or float(found[1]) == 0:
        raise UsageError(f"expected a size such as 2GB or 512MiB for --memory, got {text!r}")
    return int(float(found[1]) * UNITS[found[2]])


def available(device: torch.device, root: Path = Path("/")) -> int:
    """Return the bytes that a run may take on a device: most of what is free, here and in its control groups."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * SHARE)
    return int(min([_free(root), *_left_of_limits(root)]) * SHARE)


def _free(root: Path) -> int:
    info = root / "proc/meminfo"
    if info.exists() and (found := re.search(r"MemAvailable:\s+(\d+) kB", info.read_text())):
        return int(found[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _left_of_limits(root: Path) -> Iterator[int]:
    """Yield what is left of the limit of every control group that this process is in, as in containers and jobs.

    Linux counts the files that it keeps in memory, too; those that nobody uses it drops when a group needs room.
    """
    groups = root / "proc/self/cgroup"
    for line in groups.read_text().splitlines() if groups.exists() else ():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            base, limit, used, files = root / "sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, limit, used, files = (
                root / "sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file",
            )  # fmt: skip
        else:
            continue
        inmost = base / path.lstrip("/")
        for group in (inmost, *inmost.parents):
            if group.is_relative_to(base) and (group / limit).exists():
                most, held = (group / limit).read_text().strip(), int((group / used).read_text())
                dropped = re.search(rf"^{files} (\d+)$", (group / "memory.stat").read_text(), re.MULTILINE)
                if most != "max":
                    yield max(0, int(most) - held + (int(dropped[1]) if dropped else 0))


def share(text: str | None, workers: int, device: torch.device) -> int | None:
    """Return the bytes of each of several workers on a machine; None where one alone, or one per GPU, finds out."""
    if text is not None:
        return parse(text) // workers
    return available(device) // workers if workers > 1 and device.type == "cpu" else None


def bytes_per_node(smooth: nn.Module, images: Tensor) -> float:
    """Measure what the graph of one gradient with respect to the first of (N, C, H, W) images keeps alive, per node.

    Tensors that the graph saves are counted once each, the network's own parameters and buffers not at all.
    """
    nodes = least_nodes(images.device)
    leaf = images[:1].expand(nodes, -1, -1, -1).clone().requires_grad_()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*smooth.parameters(), *smooth.buffers())}
    saved: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        saved[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = smooth(leaf)
        (gradient,) = torch.autograd.grad(logits[:, 0].sum(), leaf, create_graph=True)
    sizes = [tensor.untyped_storage().nbytes() for place, tensor in saved.items() if place not in own]
    del gradient
    return max(1.0, PASSES * sum(sizes) / nodes)


def nodes_within(budget: int, smooth: nn.Module, images: Tensor) -> int:
    """Return how many nodes fit into `budget` bytes, perhaps none; on a CPU whole batches of its fixed size.

    Args:
        budget: bytes.
        smooth: the network whose gradients have derivatives.
        images: (N, C, H, W), of which one is looked at.
    """
    fitting, step = int(budget / bytes_per_node(smooth, images)), least_nodes(images.device)
    return fitting // step * step


def least_nodes(device: torch.device) -> int:
    """Return how many nodes are always in flight: on a CPU one batch of its fixed size."""
    return CPU_BATCH if device.type == "cpu" else 1


@dataclass
class Room:
    """How many nodes work may have in flight at once: fewer from then on, each time that memory runs out."""

    device: torch.device
    nodes: int
    say: Callable[[str], None]
    """Told in words of every halving."""

    def give(self, work: Callable[[], Result]) -> Result:
        """Do a piece of work; where memory runs out, do it anew with half as many nodes in flight.

        Raises:
            EnvironmentFault: if not even a single node fits.
        """
        while True:
            try:
                with at_most(self.nodes):
                    return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.nodes == 1:
                    raise EnvironmentFault(
                        f"expected memory on {self.device} for a single node, got none left; give a smaller "
                        "--batch-size, free some memory or compute on the CPU"
                    ) from error
            self.nodes = max(1, min(self.nodes, nodes_in_flight(self.device)) // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.say(f"out of memory on {self.device}: on with at most {self.nodes} nodes at once")
