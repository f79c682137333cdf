"""What an attribution method promises: a value, and the way back from it to the pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from bench.core.compute.chunks import forward, image_slices
from bench.core.compute.rng import SampleRng


class Linearization(NamedTuple):
    """An attribution and the way back from it to the pixels, sharing one forward pass."""

    attribution: Tensor
    pullback: Callable[[Tensor], Tensor]


class AttributionMethod(ABC):
    """Explains logit `labels[i]` of image i.

    `linearize` is the one primitive: the value and its pullback (vector-Jacobian product), as in reverse-mode
    differentiation. The default pulls back by double backward, which is the oracle of every faster one.
    """

    version: ClassVar[int] = 1
    differentiable: ClassVar[bool] = True
    """Whether it can be linearized; if not, it is attacked through its substitute and without gradients only."""
    substitute: ClassVar[str] = "gradient"
    """The differentiable method that attacks with gradients search through where this one is not: theirs is a transfer
    from one method to another, on the attacked network or on the one that they craft on."""
    unfit_to_rank: ClassVar[str] = ""
    """Why no protocol may rank by it; empty where nothing is known against it."""
    exact_pullback: ClassVar[bool] = True
    """Whether the pullback is the derivative; False for one that repeats a published mistake on purpose."""
    random: ClassVar[bool] = True
    """Whether it draws from its `rng`; clean images are explained once for all attacks by one that does not."""

    @property
    def nodes_per_image(self) -> int:
        """How many images pass through the network to explain one."""
        return 1

    def turn(self, number: int, turns: int) -> AttributionMethod:  # noqa: ARG002
        """Return the method on a share of its nodes: in as many turns as said, each node has its turn; here all."""
        return self

    def slices(self, count: int, device: torch.device) -> Iterator[slice]:
        """Yield slices that cover `count` images: which of them pass through the network together."""
        return image_slices(count, self.nodes_per_image, device)

    @abstractmethod
    def attribute(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng, create_graph: bool = False
    ) -> Tensor:
        """(N, C, H, W) signed attribution of logit `labels` at `images`; with a graph if asked."""

    def attribute_with_logits(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng
    ) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) attribution and (N, K) logits; a method that meets the images themselves shares the pass."""
        with torch.no_grad():
            logits = forward(model, images)
        return self.attribute(model, images, labels, rng=rng), logits

    def linearize(self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng) -> Linearization:
        """Return the attribution, and the function from a cotangent (N, C, H, W) to d<A(x), cotangent>/dx."""
        leaf = images.detach().requires_grad_()
        attribution = self.attribute(model, leaf, labels, rng=rng, create_graph=True)

        def pullback(cotangent: Tensor) -> Tensor:
            if not attribution.requires_grad:
                return torch.zeros_like(leaf)
            (gradient,) = torch.autograd.grad(attribution, leaf, cotangent, allow_unused=True)
            return torch.zeros_like(leaf) if gradient is None else gradient

        return Linearization(attribution.detach(), pullback)

    def pullback(
        self, model: nn.Module, images: Tensor, labels: Tensor, cotangent: Tensor, *, rng: SampleRng
    ) -> Tensor:
        """(N, C, H, W): the gradient of <A(x), cotangent> with respect to the pixels."""
        return self.linearize(model, images, labels, rng=rng).pullback(cotangent)

    def completeness_gap(
        self,
        model: nn.Module,  # noqa: ARG002
        images: Tensor,  # noqa: ARG002
        labels: Tensor,  # noqa: ARG002
        attribution: Tensor,  # noqa: ARG002
    ) -> Tensor | None:
        """(N,) |sum of A - (logit(x) - logit(baseline))| where the method promises completeness, else None."""
        return None
