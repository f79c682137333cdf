"""Remove pixels in the order of a map, then train."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Dataset, Objective, Split
from bench.core.schemas.protocol import Component
from bench.core.schemas.recipe import Recipe
from bench.studies._registered import dataset_of
from model_zoo.build import classifier, construct
from model_zoo.training.data import Partition, to_float
from model_zoo.training.loop import begin
from model_zoo.training.measure import correct

SOBEL = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))


class Halves(NamedTuple):
    """What belongs to the training images, and to the test images."""

    train: Any
    test: Any


def removal_order(heatmap: Tensor, rng: Rng) -> Tensor:
    """Return the rank of every pixel, 0 for the largest.

    Equal pixels are ordered at random, so that the order of a constant map is random.

    Args:
        heatmap: (N, H, W). Importance of every pixel.
        rng: stream of the random order.
    Returns:
        (N, H, W) int64.
    """
    flat = heatmap.flatten(1)
    shuffle = torch.rand(flat.shape, generator=rng.generator()).argsort(dim=1)
    order = shuffle.gather(1, flat.gather(1, shuffle).argsort(dim=1, descending=True, stable=True))
    ranks = torch.empty_like(order).scatter_(1, order, torch.arange(flat.shape[1]).expand_as(order))
    return ranks.view(heatmap.shape)


def without(images: Tensor, ranks: Tensor, share: float, *, most: bool, fill: Sequence[float]) -> Tensor:
    """Return images without a share of their pixels.

    Args:
        images: (N, C, H, W) uint8.
        ranks: (N, H, W) from `removal_order`.
        share: of the pixels that are removed.
        most: whether the most important pixels go, or else the least important.
        fill: what replaces them, per channel, in [0, 1].
    Returns:
        (N, C, H, W) uint8.
    """
    pixels = ranks.shape[1:].numel()
    count = round(share * pixels)
    gone = ranks < count if most else ranks >= pixels - count
    colour = (torch.tensor(fill) * 255).round().to(torch.uint8).view(1, -1, 1, 1)
    return torch.where(gone.unsqueeze(1), colour, images)


def edges(images: Tensor) -> Tensor:
    """Return (N, H, W) lengths of Sobel's gradient of the grey images."""
    grey = F.pad(to_float(images).mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = torch.tensor(SOBEL).view(1, 1, 3, 3)
    return torch.hypot(F.conv2d(grey, across), F.conv2d(grey, across.mT)).squeeze(1)


def retrained(
    recipe: Recipe, images: Halves, dataset: Dataset, device: torch.device, beat: Callable[[], None]
) -> float:
    """Return the test accuracy of a network that is trained from scratch.

    Args:
        recipe: architecture, objective, epochs and seed.
        images: the training and test `Split`.
        dataset: gives mean and standard deviation of the normalisation.
        device: where to compute.
        beat: called after every step.
    """
    build = registry.load("architectures", recipe.architecture.name)
    network = construct(build, len(dataset.classes), recipe.architecture, whose=f"study {recipe.name}")
    model = classifier(network, dataset.mean, dataset.std)
    objective: Objective = registry.instantiate("objectives", recipe.objective)
    training = begin(recipe, model, Partition(images.train, images.train), objective, device, parent=False)
    for _ in range(training.steps):
        training.one_step()
        training.step += 1
        beat()
    training.model.eval()
    answers = correct(training.model, to_float(images.test.images), images.test.labels, device=device)
    return float(answers.double().mean())


def fitting(architecture: str, shape: tuple[int, int, int], params: dict[str, Any]) -> Component:
    """Return an architecture for images of a shape, where it takes one."""
    known = inspect.signature(registry.load("architectures", architecture)).parameters
    own = {"channels": shape[0], "side": shape[1]}
    return Component(name=architecture, params={key: own[key] for key in own if key in known} | params)


@lru_cache(maxsize=1)
def first_images(dataset: str, train: int, test: int) -> Halves:
    """Return the first training and test images, kept for the next piece."""
    loaded = dataset_of(dataset)
    halves = Halves(loaded.load("train"), loaded.load("test"))
    return Halves(*(Split(s.images[:n], s.labels[:n]) for s, n in zip(halves, (train, test), strict=True)))


def area(shares: Sequence[float], heights: Sequence[float]) -> float:
    """Return the area under a curve by trapezoids."""
    return float(torch.trapezoid(torch.tensor(heights).double(), torch.tensor(shares).double()))
