"""RISE, which looks at answers to images with random parts covered."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._nodes import MOST_NODES
from bench.core.compute.chunks import at_most, forward, nodes_in_flight
from bench.core.compute.rng import SampleRng
from bench.core.contracts import AttributionMethod, Linearization

TOGETHER = 64
"""Masks that are made at once. Sums over masks have this order for any memory limit."""


@dataclass(frozen=True, kw_only=True)
class Rise(AttributionMethod):
    """The mean of random masks, weighted by answers to masked images.

    A = 1 / (p T) sum_s f(M_s x) M_s. A mask M_s is a grid of cells, each 1 with probability p, enlarged bilinearly by a
    random shift of at most one cell. Every channel holds the map divided by C. It asks for answers only; an attack
    with gradients needs first derivatives: dA/dx = 1 / (p T) sum_s <c, M_s> M_s df(M_s x).

    Source:
        Petsiuk, Das, Saenko 2018. Reference code: eclique/RISE.
        Differs: 1000 masks by default (the paper has 4000 to 8000); a sample has the same masks before and after an
        attack.
    """

    version: ClassVar[int] = 1

    masks: int = Field(default=1000, ge=1, le=MOST_NODES)
    """Number T of masks."""
    cells: int = Field(default=7, ge=1, le=64)
    """Rows and columns of the grid."""
    probability: float = Field(default=0.5, gt=0, le=1)
    """Probability p with which a cell is seen."""
    answer: Literal["probability", "logit"] = "probability"
    """The answer f: the softmax probability of the explained class, or its logit."""

    @property
    def nodes_per_image(self) -> int:
        """The number of masks."""
        return self.masks

    def attribute(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng, create_graph: bool = False
    ) -> Tensor:
        """(N, C, H, W) attribution of the class `labels` at `images`.

        It has a graph if `create_graph` is set.
        """
        each = zip(images, labels, strict=True)
        with torch.set_grad_enabled(create_graph):
            return torch.stack([self._map(model, *one, rng.select([i])) for i, one in enumerate(each)])

    def linearize(self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng) -> Linearization:
        """Return the attribution and its exact pullback, which needs first derivatives only."""
        images = images.detach()

        def pullback(cotangent: Tensor) -> Tensor:
            each = zip(images, labels, cotangent, strict=True)
            return torch.stack([self._pulled(model, *one, rng.select([i])) for i, one in enumerate(each)])

        return Linearization(self.attribute(model, images, labels, rng=rng), pullback)

    def _map(self, model: nn.Module, image: Tensor, label: Tensor, rng: SampleRng) -> Tensor:
        """(C, H, W) attribution of one image."""
        total = torch.zeros_like(image[:1])
        for masks in self._masks(image, rng):
            total = total + (self._answers(model, image * masks, label) @ masks.flatten(1)).view_as(total)
        return total.expand_as(image) * self._factor(image)

    def _pulled(self, model: nn.Module, image: Tensor, label: Tensor, cotangent: Tensor, rng: SampleRng) -> Tensor:
        """(C, H, W) derivative of <A(x), cotangent> at one image."""
        total = torch.zeros_like(image)
        for masks in self._masks(image, rng):
            weights = (masks * cotangent.sum(0)).flatten(1).sum(1)
            total = total + self._slope(model, image, label, masks, weights)
        return total * self._factor(image)

    def _factor(self, image: Tensor) -> float:
        return 1 / (self.probability * self.masks * len(image))

    def _masks(self, image: Tensor, rng: SampleRng) -> Iterator[Tensor]:
        """Yield (M, 1, H, W) masks of one (C, H, W) image."""
        sides = image.shape[1:]
        cell = [math.ceil(side / self.cells) for side in sides]
        large = [(self.cells + 1) * size for size in cell]
        for first in range(0, self.masks, TOGETHER):
            count, stream = min(TOGETHER, self.masks - first), rng.fork("rise", first)
            grid = stream.fork("cells").uniform((count, self.cells, self.cells), 0, 1)[0] < self.probability
            shifts = (stream.fork("shifts").uniform((count, 2), 0, 1)[0] * torch.tensor(cell)).long().tolist()
            whole = F.interpolate(grid[:, None].to(image), size=large, mode="bilinear", align_corners=False)
            parts = [m[:, y : y + sides[0], x : x + sides[1]] for m, (y, x) in zip(whole, shifts, strict=True)]
            yield torch.stack(parts)

    def _answers(self, model: nn.Module, points: Tensor, label: Tensor) -> Tensor:
        """(M,) answers to (M, C, H, W) images."""
        logits = forward(model, points)
        return (logits.softmax(1) if self.answer == "probability" else logits)[:, label]

    def _slope(self, model: nn.Module, image: Tensor, label: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
        """(C, H, W) gradient of the weighted sum of answers."""
        step = max(1, nodes_in_flight(image.device))
        parts: list[Tensor] = []
        for start in range(0, len(mask), step):
            piece = slice(start, start + step)
            points = (image * mask[piece]).requires_grad_()
            with torch.enable_grad(), at_most(step):
                weighted = (self._answers(model, points, label) * weights[piece]).sum()
            parts += torch.autograd.grad(weighted, points)
        return (torch.cat(parts) * mask).sum(0)
