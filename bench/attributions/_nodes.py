"""Attributions that average input gradients over nodes, and their exact pullback.

A(x) = m * sum_s w_s g(x_s) with x_s = scale_s x + shift_s and m = x - baseline, or 1. Then
d<A(x), c>/dx = c * sum_s w_s g(x_s) [if m depends on x] + sum_s w_s scale_s H(x_s)(c * m)
(with a baseline per node, m_s under the sums):
one Hessian-vector product per node, whose forward and first backward pass the value has already paid for.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench.core.compute.chunks import logit_gradients, node_slices, pieces
from bench.core.compute.rng import SampleRng
from bench.core.contracts import AttributionMethod, Linearization

MOST_NODES = 10_000
"""Most nodes per image. More nodes improve no quadrature, and a foreign protocol with more could fill the memory."""


class Nodes(NamedTuple):
    """The points at which gradients are taken.

    There are T nodes for each of N images.
    """

    points: Tensor
    """(N, T, C, H, W)."""
    weights: Tensor
    """(T,) w_s."""
    scales: Tensor
    """(T,) dx_s/dx."""
    factor: Tensor | None
    """(N, C, H, W) m = x - baseline, or (N, T, C, H, W) with a baseline per node; None stands for m = 1."""


class NodeMethod(AttributionMethod):
    """A method of the gradient family.

    A subclass says where its nodes lie.
    """

    @abstractmethod
    def place(self, images: Tensor, rng: SampleRng) -> Nodes:
        """Return the nodes of N images, differentiable in `images`."""

    def turn(self, number: int, turns: int) -> AttributionMethod:
        """Return the method restricted to the nodes of one turn.

        A turn is every `turns`-th node; all turns together cover all nodes.
        """
        turns = min(turns, self.nodes_per_image)
        return self if turns == 1 else _Turn(self, number % turns, turns)

    def slices(self, count: int, device: torch.device) -> Iterator[slice]:
        """Yield slices of the `count` images that pass the network together."""
        return node_slices(count, self.nodes_per_image, device)

    def attribute(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng, create_graph: bool = False
    ) -> Tensor:
        """(N, C, H, W) signed attribution of logit `labels` at `images`.

        It has a graph if `create_graph` is set.
        """
        if create_graph:
            return self._attribute(model, images, labels, rng)
        slices = self.slices(len(images), images.device)
        parts = [self._attribute(model, images[s].detach(), labels[s], rng.select(s)).detach() for s in slices]
        return torch.cat(parts)

    def _attribute(self, model: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng) -> Tensor:
        nodes = self.place(images, rng)
        points = nodes.points if nodes.points.requires_grad else nodes.points.detach().requires_grad_()
        return _weigh(gradients_at(model, points, labels, create_graph=images.requires_grad), nodes)

    def linearize(self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng) -> Linearization:
        """Return the attribution and its exact pullback.

        The pullback uses Hessian-vector products at the nodes.
        """
        slices = list(self.slices(len(images), images.device))
        parts = [self._linearize(model, images[s].detach(), labels[s], rng.select(s)) for s in slices]

        def pullback(cotangent: Tensor) -> Tensor:
            return torch.cat([part.pullback(cotangent[s]) for part, s in zip(parts, slices, strict=True)])

        return Linearization(torch.cat([part.attribution for part in parts]), pullback)

    def _linearize(self, model: nn.Module, images: Tensor, labels: Tensor, rng: SampleRng) -> Linearization:
        nodes = self.place(images, rng)
        points = nodes.points.detach().requires_grad_()
        # If the nodes of one image exceed the memory limit, no graph is kept: a pullback then costs 6 passes, not 4.
        whole = len(pieces(points)) == 1
        gradients = gradients_at(model, points, labels, create_graph=whole)
        average = _average(gradients.detach(), nodes.weights)
        attribution = _weigh(gradients.detach(), nodes)

        def pullback(cotangent: Tensor) -> Tensor:
            direct = torch.zeros_like(images) if nodes.factor is None else cotangent * average
            vector = (
                cotangent.unsqueeze(1) if nodes.factor is None else cotangent.unsqueeze(1) * _per_node(nodes.factor)
            )
            along = (nodes.weights.view(1, -1, 1, 1, 1) * vector).expand_as(gradients)
            curved = (
                along_graph(gradients, points, along) if whole else curvature(model, points.detach(), labels, along)
            )
            return direct if curved is None else direct + _average(curved, nodes.scales)

        return Linearization(attribution, pullback)


class _Turn(NodeMethod):
    """Some nodes of another method.

    They are evenly spread, and their weights have the same sum as the weights of all nodes.
    """

    def __init__(self, whole: NodeMethod, first: int, step: int) -> None:
        self._whole, self._chosen = whole, slice(first, None, step)

    @property
    def nodes_per_image(self) -> int:
        """The number of nodes of this turn."""
        return len(range(self._whole.nodes_per_image)[self._chosen])

    def place(self, images: Tensor, rng: SampleRng) -> Nodes:
        """Return the nodes of this turn for N images."""
        points, weights, scales, factor = self._whole.place(images, rng)
        own = weights[self._chosen]
        if factor is not None and factor.dim() > 4:
            factor = factor[:, self._chosen]
        return Nodes(points[:, self._chosen], own * (weights.sum() / own.sum()), scales[self._chosen], factor)


def gradients_at(model: nn.Module, points: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:
    """(N, T, C, H, W) gradients of explained logits at the nodes.

    A graph is kept for all nodes or for none.
    """
    if create_graph:
        return _gradients_of_piece(model, points, labels, create_graph=True)
    parts = [
        _gradients_of_piece(model, points[:, piece].detach().requires_grad_(), labels, create_graph=False)
        for piece in pieces(points)
    ]
    return torch.cat(parts, 1)


def _gradients_of_piece(model: nn.Module, points: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:
    each = labels.repeat_interleave(points.shape[1])
    return logit_gradients(model, points.flatten(0, 1), each, create_graph=create_graph).view_as(points)


def along_graph(gradients: Tensor, points: Tensor, along: Tensor) -> Tensor | None:
    """(N, T, C, H, W) Hessian times `along`, at each node.

    None if the network has no curvature.
    """
    if not gradients.requires_grad:
        return None
    (curved,) = torch.autograd.grad(gradients, points, along, allow_unused=True)
    return curved


def curvature(model: nn.Module, points: Tensor, labels: Tensor, along: Tensor) -> Tensor | None:
    """(N, T, C, H, W): the result of `along_graph`, computed in pieces.

    The graph of a piece is dropped when the piece is done.
    """
    parts = []
    for piece in pieces(points):
        at = points[:, piece].detach().requires_grad_()
        parts.append(along_graph(gradients_at(model, at, labels, create_graph=True), at, along[:, piece]))
    found = [part for part in parts if part is not None]
    return torch.cat(found, 1) if found else None


def _weigh(gradients: Tensor, nodes: Nodes) -> Tensor:
    """(N, C, H, W) attribution from (N, T, C, H, W) gradients."""
    if nodes.factor is not None and nodes.factor.dim() > 4:
        return _average(nodes.factor * gradients, nodes.weights)
    average = _average(gradients, nodes.weights)
    return average if nodes.factor is None else nodes.factor * average


def _per_node(factor: Tensor) -> Tensor:
    return factor if factor.dim() > 4 else factor.unsqueeze(1)


def _average(values: Tensor, weights: Tensor) -> Tensor:
    """(N, C, H, W) weighted mean over the T nodes."""
    return (values * weights.view(1, -1, 1, 1, 1)).sum(1)
