"""Small maps of a network's inside, enlarged to the image."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.chunks import image_slices
from bench.core.compute.rng import SampleRng
from bench.core.contracts import AttributionMethod

MOST_PREFIXES = 16
"""Most tokens in front of the patches: a class token, a distillation token, registers."""


class MapMethod(AttributionMethod):
    """A method whose attribution is one small map per image.

    A subclass computes the map. Derivatives come from its graph: the second derivative reaches down to the layers that
    the map is made of, and only the first derivative from there to the pixels.
    """

    random: ClassVar[bool] = False

    @abstractmethod
    def small_map(self, model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:
        """(N, 1, h, w) map of the logits `labels`.

        The images require gradients.
        """

    def attribute(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        rng: SampleRng,  # noqa: ARG002
        create_graph: bool = False,
    ) -> Tensor:
        """(N, C, H, W) attribution of logit `labels` at `images`.

        It has a graph if `create_graph` is set.

        Raises:
            UsageError: if the network has no such inside.
        """
        if create_graph:
            return enlarged(self.small_map(model, images, labels, create_graph=True), images)
        parts = []
        for part in image_slices(len(images), self.nodes_per_image, images.device):
            leaf = images[part].detach().requires_grad_()
            with torch.enable_grad():
                small = self.small_map(model, leaf, labels[part], create_graph=False)
            parts.append(enlarged(small.detach(), leaf.detach()))
        return torch.cat(parts)


def enlarged(small: Tensor, images: Tensor) -> Tensor:
    """(N, C, H, W) from small maps, (N, 1, h, w), bilinearly.

    Every channel holds the map divided by C.
    """
    large = F.interpolate(small, size=tuple(images.shape[2:]), mode="bilinear", align_corners=False)
    return (large / images.shape[1]).expand_as(images).contiguous()


def outputs_of(model: nn.Module, images: Tensor, wanted: Callable[[str, nn.Module], bool]) -> tuple[Tensor, list[Any]]:
    """Return logits, (N, K), and the outputs of wanted modules.

    Args:
        model: the network.
        images: (N, C, H, W).
        wanted: whether the output of a module is kept, from its name and the module.
    """
    found: list[Any] = []
    kept = [module for name, module in model.named_modules() if wanted(name, module)]
    handles = [module.register_forward_hook(lambda _, __, output: found.append(output)) for module in kept]
    try:
        logits = model(images)
    finally:
        for handle in handles:
            handle.remove()
    return logits, found


def is_normalisation(module: nn.Module) -> bool:
    """Return whether the class of a module is called a normalisation."""
    return type(module).__name__.lower().endswith("norm")


def grid_of(tokens: int, images: Tensor) -> tuple[int, int, int] | None:
    """Return the number of first tokens, and rows and columns of patches.

    The first tokens are no patches. The patches have the aspect ratio of the images, and the fewest first tokens that
    fit are taken. None if none fit.
    """
    height, width = images.shape[2:]
    for before in range(min(MOST_PREFIXES, tokens - 1) + 1):
        patches = tokens - before
        rows = math.isqrt(patches * height // width)
        if rows and patches % rows == 0 and rows * width == (patches // rows) * height and patches > 1:
            return before, rows, patches // rows
    return None
