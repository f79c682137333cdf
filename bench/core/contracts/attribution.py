"""The contract of attribution methods: an attribution and its pullback."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from bench.core.compute.chunks import forward, image_slices
from bench.core.compute.rng import SampleRng
from bench.core.contracts.plugin import Plugin


class Linearization(NamedTuple):
    """An attribution and its pullback to the pixels.

    Both share one forward pass.
    """

    attribution: Tensor
    pullback: Callable[[Tensor], Tensor]


class AttributionMethod(Plugin, ABC):
    """A method that explains logit `labels[i]` of image i.

    `linearize` is the one primitive: the value and its pullback (vector-Jacobian product), as in reverse-mode
    differentiation. The default pullback is double backward; tests compare every faster pullback with it.
    """

    version: ClassVar[int] = 1
    differentiable: ClassVar[bool] = True
    """Whether it can be linearized; if not, attacks use its substitute or no gradients."""
    substitute: ClassVar[str] = "gradient"
    """The differentiable method that attacks with gradients use if this method is not differentiable.

    Such an attack transfers from one method to another, on the attacked network or on a source network."""
    unfit_to_rank: ClassVar[str] = ""
    """Why no protocol may rank by it; empty if there is no such reason."""
    exact_pullback: ClassVar[bool] = True
    """Whether the pullback is the derivative; False for a method that repeats a published mistake on purpose."""
    class_specific: ClassVar[bool] = True
    """Whether the map depends on the explained class."""
    needs_attention: ClassVar[bool] = False
    """Whether it reads a transformer's tokens, so that other networks are refused."""
    random: ClassVar[bool] = True
    """Whether it draws from its `rng`; if not, clean images are explained once for all attacks."""

    @property
    def nodes_per_image(self) -> int:
        """Return how many passes through the network explain one image."""
        return 1

    def turn(self, number: int, turns: int) -> AttributionMethod:  # noqa: ARG002
        """Return the method restricted to the nodes of one turn.

        Over all `turns`, every node is used once. The default uses all nodes in every turn.
        """
        return self

    def slices(self, count: int, device: torch.device) -> Iterator[slice]:
        """Yield slices of `count` images that pass through the network together."""
        return image_slices(count, self.nodes_per_image, device)

    @abstractmethod
    def attribute(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng, create_graph: bool = False
    ) -> Tensor:
        """(N, C, H, W): the signed attribution of the logits `labels`.

        It has a graph if `create_graph`.
        """

    def attribute_with_logits(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng
    ) -> tuple[Tensor, Tensor]:
        """Return the (N, C, H, W) attribution and the (N, K) logits.

        A method that evaluates the network at the images themselves computes both in one pass.
        """
        with torch.no_grad():
            logits = forward(model, images)
        return self.attribute(model, images, labels, rng=rng), logits

    def linearize(self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng) -> Linearization:
        """Return the attribution A(x) and its pullback.

        The pullback maps a cotangent (N, C, H, W) to d<A(x), cotangent>/dx.
        """
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
        """(N, C, H, W): the gradient of <A(x), cotangent> at the pixels."""
        return self.linearize(model, images, labels, rng=rng).pullback(cotangent)

    def completeness_gap(
        self,
        model: nn.Module,  # noqa: ARG002
        images: Tensor,  # noqa: ARG002
        labels: Tensor,  # noqa: ARG002
        attribution: Tensor,  # noqa: ARG002
    ) -> Tensor | None:
        """(N,): |sum of A - (logit(x) - logit(baseline))|.

        None if the method does not promise completeness.
        """
        return None
