"""The victim as attack libraries want it: a module of one image, differentiable, every look counted as ever."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Victim


def import_foolbox() -> Any:
    """Return the module foolbox, silencing that it imports from a place which scipy deprecates."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        import foolbox
    return foolbox


class CountedModel(nn.Module):
    """(N, C, H, W) to the victim's (N, K) logits; each of the N images is one look, as they show one sample."""

    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self.victim = victim
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits; with a graph if the images ask for it."""
        return torch.cat([_Look.apply(images[i : i + 1], self.victim) for i in range(len(images))])  # type: ignore[no-untyped-call]


class _Look(torch.autograd.Function):
    """One look at the victim, whose backward pass asks it for a gradient."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, victim: Victim) -> Tensor:
        ctx.save_for_backward(image)
        ctx.victim = victim
        return victim.logits(image)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (image,) = ctx.saved_tensors
        (weights,) = gradients
        return ctx.victim.prediction_gradient(image, lambda logits, w: (logits * w).sum(1), weights), None


def each_alone(images: Tensor, rng: SampleRng, search: Callable[[Tensor, int, Rng], Tensor]) -> Tensor:
    """(N, C, H, W): what `search(image, its index, its stream)` finds for each (1, C, H, W) image.

    A library draws from torch's global generator, which here follows the image's own stream, and ties the images of a
    batch together: so they come one by one.
    """
    found = []
    for index, stream in enumerate(rng.streams()):
        with stream.ambient():
            found.append(search(images[index : index + 1], index, stream))
    return torch.cat(found)
