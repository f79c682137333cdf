"""ART with the triplet of the perturbed images alone."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from model_zoo.training.objectives.art import Art, class_gradients, distance


@dataclass(frozen=True, kw_only=True)
class ArtPerturbed(Art):
    """ART's loss, with triplets of the perturbed images alone.

    CE(z(x'), y) + weight * softplus(d(x', g+(x')) - d(x', g-(x'))). ART's published code adds the triplet of the clean
    image, and takes the worse of both images' gradients.

    Source:
        Singh et al. 2020, equation 5, as the text has it.
        Differs: see `Art`.
    """

    version: ClassVar[int] = 1

    def attribution_loss(self, smooth: nn.Module, both: Tensor, labels: Tensor) -> Tensor:
        """Return the (N,) triplet losses of the found images.

        (2N, C, H, W) clean, then found images; their (2N,) labels.
        """
        normalize, network = smooth.children()
        found = slice(len(both) // 2, None)
        anchors = normalize(both[found]).detach()
        gradients = class_gradients(network, anchors.clone().requires_grad_(), labels[found], create_graph=True)
        return F.softplus(distance(anchors, gradients.own) - distance(anchors, gradients.other))
