"""The victim in the form that attack libraries expect.

It is a differentiable module for one image, and every look is counted.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Victim


def import_foolbox() -> Any:
    """Return the module foolbox without its warning.

    It imports from a place that scipy deprecates.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        import foolbox
    return foolbox


class CountedModel(nn.Module):
    """A module that returns the victim's (N, K) logits.

    The (N, C, H, W) images show one sample, so each of them is one look.
    """

    def __init__(self, victim: Victim) -> None:
        super().__init__()
        self.victim = victim
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits, with a graph if the images require gradients."""
        return torch.cat([_Look.apply(images[i : i + 1], self.victim) for i in range(len(images))])  # type: ignore[no-untyped-call]


class _Look(torch.autograd.Function):
    """One look at the victim.

    Its backward pass asks the victim for a gradient.
    """

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
    """(N, C, H, W): the results of searches on single images.

    The search is called as `search(image, its index, its stream)` with (1, C, H, W) images. A library draws from
    torch's global generator, which here follows the image's own stream. In a batch the result of one image would depend
    on the others, so images come one by one.
    """
    found = []
    for index, stream in enumerate(rng.streams()):
        with stream.ambient():
            found.append(search(images[index : index + 1], index, stream))
    return torch.cat(found)
