"""How many images pass through the network at once.

On a CPU always one image (with all its nodes): batching several gains nothing there, and an image's numbers then cannot
depend on its neighbours, because convolutions of another batch size round differently.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

NODES_IN_FLIGHT = 512


def image_slices(count: int, nodes: int, device: torch.device) -> Iterator[slice]:
    """Yield slices that cover `count` images, each small enough that its nodes fit in one pass."""
    step = 1 if device.type == "cpu" else max(1, NODES_IN_FLIGHT // nodes)
    for start in range(0, count, step):
        yield slice(start, min(start + step, count))
