"""How many images pass through the network at once.

On a CPU, convolutions round differently for different batch sizes, so that an image's numbers would depend on how many
images are computed together. Therefore a network on a CPU sees batches of one size only for images of a size
(`cpu_batch`), and the last batch is padded: in a batch of a given size, an image's numbers do not depend on its place
or its neighbours. Methods that hook into the network see images one by one.

A node is in flight while its graph is in memory. A memory budget limits how many nodes are in flight; this limit
changes no number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.machine import is_shortened

NODES_IN_FLIGHT = 512
"""Limit on a GPU, whose cache holds about as many activations of a small network."""

SHORT_NODES_IN_FLIGHT = 2048
"""Limit on a GPU in TF32: kernels are four times faster, and must run for longer than it takes to launch the next."""

CPU_BATCH = 8
SMALL = 128 * 128
"""Pixels of the largest images that pass in such batches. One larger image is enough work for a layer, fills a core's
cache, and has no batch to be padded."""

CPU_NODES_IN_FLIGHT = 40
"""Limit on a CPU: graphs for second derivatives are kept for a whole slice, and more would not fit into its caches."""

_bound: ContextVar[int | None] = ContextVar("nodes in flight", default=None)


def cpu_batch(images: Tensor) -> int:
    """Return the size of batches of such images on a CPU."""
    return CPU_BATCH if images.shape[-2] * images.shape[-1] <= SMALL else 1


def nodes_in_flight(device: torch.device) -> int:
    """Return how many nodes may have a graph at the same time."""
    on_gpu = SHORT_NODES_IN_FLIGHT if is_shortened() else NODES_IN_FLIGHT
    usual, bound = CPU_NODES_IN_FLIGHT if device.type == "cpu" else on_gpu, _bound.get()
    return usual if bound is None else min(usual, bound)


@contextmanager
def at_most(nodes: int) -> Iterator[None]:
    """Run a block with at most `nodes` nodes in flight."""
    token = _bound.set(nodes)
    try:
        yield
    finally:
        _bound.reset(token)


def image_slices(count: int, nodes: int, device: torch.device) -> Iterator[slice]:
    """Yield slices of `count` images whose nodes fit in one pass.

    On a CPU each slice has one image.
    """
    return _slices(count, 1 if device.type == "cpu" else nodes_in_flight(device) // nodes)


def node_slices(count: int, nodes: int, device: torch.device) -> Iterator[slice]:
    """Yield slices of `count` images for networks called through `forward` only."""
    return _slices(count, nodes_in_flight(device) // nodes)


def pieces(points: Tensor) -> list[slice]:
    """Return slices of the axis T of (N, T, C, H, W).

    The nodes of one slice may be in flight for all N images.
    """
    return list(_slices(points.shape[1], nodes_in_flight(points.device) // len(points)))


@runtime_checkable
class KnowsGradients(Protocol):
    """A network that computes the gradients of its logits itself."""

    def logit_gradients(self, images: Tensor, labels: Tensor) -> Tensor:
        """(M, C, H, W): the gradients at M images for (M,) labels.

        The result can be differentiated once more.
        """


def forward(model: nn.Module, images: Tensor) -> Tensor:
    """(M, K): the differentiable logits of (M, C, H, W) images.

    On a CPU an image's logits are the same to the last bit for every M.
    """
    return _in_batches(model, images)


def logit_gradients(model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:
    """(M, C, H, W): the gradients of the logits `labels`, (M,).

    The images must require gradients. The result has a graph if `create_graph`.
    """
    if isinstance(model, KnowsGradients):
        found = _in_batches(model.logit_gradients, images, labels)
        return found if create_graph else found.detach()
    explained = forward(model, images).gather(1, labels.unsqueeze(1))
    (gradients,) = torch.autograd.grad(explained.sum(), images, create_graph=create_graph)
    return gradients


def _in_batches(function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Apply a function to the M rows of its inputs in batches.

    On a CPU all batches have one size.
    """
    device, count = inputs[0].device, len(inputs[0])
    if device.type != "cpu":
        size = nodes_in_flight(device)
    else:
        size = cpu_batch(inputs[0])
        missing = -count % size
        inputs = tuple(F.pad(t, (0, 0) * (t.dim() - 1) + (0, missing)) if missing else t for t in inputs)
    return torch.cat([function(*part) for part in zip(*(torch.split(t, size) for t in inputs), strict=True)])[:count]


def _slices(count: int, step: int) -> Iterator[slice]:
    step = max(1, step)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
