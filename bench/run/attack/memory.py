"""Fits the nodes of a network into a memory budget.

If the budget was too high and memory runs out, work goes on with fewer nodes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from bench.core.compute.chunks import at_most, cpu_batch, nodes_in_flight
from bench.core.errors import EnvironmentFault, UsageError, is_out_of_memory
from model_zoo.derivatives.surrogate import Followed

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
CPU_BUDGET = 4 * 10**9
"""Usual limit on a CPU: no cache holds more, and other processes need memory, too."""
SHARE = 0.8
"""Default share of the free memory that a run may use."""
PASSES = 2.0
"""Memory of a Hessian-vector product, relative to the saved tensors of its graph: the second backward pass saves its
own tensors, too."""

PASSES_FOLLOWED = 3.6
"""The same of networks whose code is followed: the second backward passes of attention, layer normalisation and GELU
consist of many small steps. A ViT-S at 224 pixels took 3.5."""

Result = TypeVar("Result")


def parse(text: str) -> int:
    """Return the bytes of a size such as "2GB" or "512 MiB".

    Raises:
        UsageError: if the text is not a size.
    """
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", text.lower())
    if found is None or found[2] not in UNITS or float(found[1]) == 0:
        raise UsageError(f"expected a size such as 2GB or 512MiB for --memory, got {text!r}")
    return int(float(found[1]) * UNITS[found[2]])


def available(device: torch.device, root: Path = Path("/")) -> int:
    """Return the bytes that a run may use on a device.

    They are most of the free memory of the device and of the process's control groups.
    """
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0] * SHARE)
    return int(min([_free(root), *_left_of_limits(root)]) * SHARE)


def _free(root: Path) -> int:
    info = root / "proc/meminfo"
    if info.exists() and (found := re.search(r"MemAvailable:\s+(\d+) kB", info.read_text())):
        return int(found[1]) * 1024
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _left_of_limits(root: Path) -> Iterator[int]:
    """Yield the memory that the limits of this process's control groups leave.

    Containers and batch jobs have such limits. Linux also counts cached files; it drops unused ones when a group needs
    memory.
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


def usual_budget(device: torch.device) -> int:
    """Return the bytes that a run alone on a machine may use."""
    free = available(device)
    return min(free, CPU_BUDGET) if device.type == "cpu" else free


def share(text: str | None, workers: int, device: torch.device) -> int | None:
    """Return the memory budget in bytes of one of several workers.

    None if the worker can measure it itself: it is alone on the machine, or on its GPU.
    """
    if text is not None:
        return parse(text) // workers
    return available(device) // workers if workers > 1 and device.type == "cpu" else None


def bytes_per_node(smooth: nn.Module, images: Tensor) -> float:
    """Return the measured bytes per node of a gradient's graph.

    The gradient is at the first of the (N, C, H, W) images. A tensor that the graph saves twice counts once; the
    network's parameters and buffers do not count.
    """
    nodes = least_nodes(images)
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
    passes = PASSES_FOLLOWED if isinstance(smooth, Followed) else PASSES
    return max(1.0, passes * sum(sizes) / nodes)


def nodes_within(budget: int, smooth: nn.Module, images: Tensor) -> int:
    """Return how many nodes fit into `budget` bytes, perhaps 0.

    On a CPU the number is a multiple of its fixed batch size.

    Args:
        budget: bytes.
        smooth: the network whose gradients have derivatives.
        images: (N, C, H, W), of which the first is used.
    """
    fitting, step = int(budget / bytes_per_node(smooth, images)), least_nodes(images)
    return fitting // step * step


def least_nodes(images: Tensor) -> int:
    """Return the least number of nodes in flight.

    On a CPU it is one batch of the size fixed for such images, (N, C, H, W).
    """
    return cpu_batch(images) if images.device.type == "cpu" else 1


@dataclass
class Room:
    """The number of nodes that may be in flight at once.

    It is halved each time that memory runs out.
    """

    device: torch.device
    nodes: int
    say: Callable[[str], None]
    """Called with a message about every halving."""

    def give(self, work: Callable[[], Result]) -> Result:
        """Return the result of a piece of work.

        If memory runs out, the work is repeated with half as many nodes in flight.

        Raises:
            EnvironmentFault: if not even one node fits.
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
