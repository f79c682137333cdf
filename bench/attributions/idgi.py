"""Important direction gradient integration, along the line from black."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._completeness import gap_to_black
from bench.attributions._nodes import MOST_NODES, along_graph, curvature, gradients_at
from bench.core.compute.chunks import forward, node_slices, nodes_in_flight, pieces
from bench.core.compute.rng import SampleRng
from bench.core.contracts import AttributionMethod, Linearization


@dataclass(frozen=True, kw_only=True)
class Idgi(AttributionMethod):
    """The change of the logit along a path, shared by squared gradients.

    A = sum_j d_j g_j^2 / <g_j, g_j> with g_j = dz_y/dx at x_j = (j / T) x and d_j = z_y(x_{j+1}) - z_y(x_j), for
    j = 0 .. T-1: of each step only the direction of the gradient counts. It is complete for any T.

    Source:
        Yang, Wang, Bilgic 2023, algorithm 1, on the path of integrated gradients. Reference code: yangruo1226/IDGI.
        Differs: the logit, where the code takes the softmax probability.
    """

    version: ClassVar[int] = 1
    random: ClassVar[bool] = False

    nodes: int = Field(default=50, ge=1, le=MOST_NODES)
    """Number T of steps on the path."""

    @property
    def nodes_per_image(self) -> int:
        """The number of points of the path, both ends included."""
        return self.nodes + 1

    def slices(self, count: int, device: torch.device) -> Iterator[slice]:
        """Yield slices of the `count` images that pass the network together."""
        return node_slices(count, self.nodes_per_image, device)

    def attribute(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        rng: SampleRng,  # noqa: ARG002
        create_graph: bool = False,
    ) -> Tensor:
        """(N, C, H, W) non-negative or non-positive shares of logit `labels`.

        It has a graph if `create_graph` is set.
        """
        if create_graph:
            return self._path(model, images, labels, create_graph=True).attribution()
        parts = list(self.slices(len(images), images.device))
        return torch.cat([self._path(model, images[s].detach(), labels[s]).attribution() for s in parts])

    def linearize(self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng) -> Linearization:  # noqa: ARG002
        """Return the attribution and its exact pullback.

        The pullback needs one Hessian-vector product per node: with q_j = g_j^2 / <g_j, g_j> and s_j = <c, q_j> it is
        sum_j s_j d(d_j)/dx + (j / T) H_j (2 d_j g_j (c - s_j) / <g_j, g_j>).
        """
        parts = list(self.slices(len(images), images.device))
        # If the nodes of one image exceed the memory limit, no graph is kept, and the pullback computes it again.
        kept = all(nodes_in_flight(images.device) >= len(images[s]) * self.nodes_per_image for s in parts)
        paths = [self._path(model, images[s].detach(), labels[s], create_graph=kept) for s in parts]

        def pullback(cotangent: Tensor) -> Tensor:
            each = zip(paths, parts, strict=True)
            return torch.cat([_pulled(model, path, labels[s], cotangent[s]) for path, s in each])

        return Linearization(torch.cat([path.attribution().detach() for path in paths]), pullback)

    def completeness_gap(self, model: nn.Module, images: Tensor, labels: Tensor, attribution: Tensor) -> Tensor:
        """(N,) |sum of A - (z_y(x) - z_y(black))|, in logits."""
        return gap_to_black(model, images, labels, attribution)

    def _path(self, model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool = False) -> _Path:
        scales = torch.arange(self.nodes_per_image, dtype=torch.float64).to(images) / self.nodes
        points = images.unsqueeze(1) * scales.view(1, -1, 1, 1, 1)
        points = points if points.requires_grad else points.requires_grad_()
        slopes = gradients_at(model, points, labels, create_graph=create_graph)
        with torch.set_grad_enabled(images.requires_grad):
            values = torch.cat([_logits(model, points[:, piece], labels) for piece in pieces(points)], 1)
        return _Path(points, scales, slopes, values)


class _Path(NamedTuple):
    """What a network says at T + 1 points of the path."""

    points: Tensor
    """(N, T + 1, C, H, W)."""
    scales: Tensor
    """(T + 1,) j / T."""
    slopes: Tensor
    """(N, T + 1, C, H, W) gradients at the points."""
    values: Tensor
    """(N, T + 1) logits."""

    def attribution(self) -> Tensor:
        """(N, C, H, W): each step's change, shared by squared gradients."""
        slopes = self.slopes[:, :-1]
        return (slopes.square() / _squares(slopes) * _wide(self.values.diff(dim=1))).sum(1)


def _logits(model: nn.Module, points: Tensor, labels: Tensor) -> Tensor:
    each = labels.repeat_interleave(points.shape[1]).unsqueeze(1)
    return forward(model, points.flatten(0, 1)).gather(1, each).view(points.shape[:2])


def _pulled(model: nn.Module, path: _Path, labels: Tensor, cotangent: Tensor) -> Tensor:
    """(N, C, H, W) derivative of <A(x), cotangent>."""
    whole = path.slopes.detach()
    slopes, along, scales = whole[:, :-1], cotangent.unsqueeze(1), path.scales
    squares, changes = _squares(slopes), path.values.diff(dim=1)
    shares = (along * slopes.square() / squares).flatten(2).sum(2)
    direct = (_wide(shares) * (whole * scales.view(1, -1, 1, 1, 1)).diff(dim=1)).sum(1)
    vectors = 2 * _wide(changes * scales[:-1]) * slopes * (along - _wide(shares)) / squares
    if path.slopes.requires_grad:
        last = torch.zeros_like(vectors[:, :1])
        curved = along_graph(path.slopes, path.points, torch.cat([vectors, last], 1))
    else:
        curved = curvature(model, path.points.detach()[:, 1:-1], labels, vectors[:, 1:])  # black does not move
    return direct if curved is None else direct + curved.sum(1)


def _squares(slopes: Tensor) -> Tensor:
    """(N, T, 1, 1, 1) squared lengths, at least the smallest number."""
    return slopes.square().sum((2, 3, 4), keepdim=True).clamp(min=torch.finfo(slopes.dtype).tiny)


def _wide(values: Tensor) -> Tensor:
    """(N, T, 1, 1, 1) from (N, T)."""
    return values.view(*values.shape, 1, 1, 1)
