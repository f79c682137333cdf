"""Grad-CAM, the weighted last feature maps of a network.

The weights are the mean gradients, and the map is enlarged to the image. The last feature maps are weighted by their
mean gradients and enlarged to the image.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._maps import MapMethod
from bench.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class GradCam(MapMethod):
    """The last feature maps, weighted by their mean gradients.

    A = ReLU(sum over k of a_k F_k) with a_k = mean over positions of dz_y/dF_k, enlarged bilinearly. F is the last
    output of a module, in the order of the forward pass, that has channels and more than one position. It is the input
    of the global pooling or of the first linear layer. Every channel of A holds the same map divided by C, so that the
    heatmap is the map itself.

    Source:
        Selvaraju et al. 2017.
        Differs: nothing. The map has few positions and many exact zeros: expect ties in ranks.
    """

    version: ClassVar[int] = 1

    layer: str = ""
    """Name of the module whose output is F, within the network, such as layer3.2.bn2; empty: the last one."""

    def small_map(self, model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:
        """(N, 1, h, w) non-negative map.

        Raises:
            UsageError: if the network has no such module, or no module with feature maps.
        """
        features, slopes = features_and_slopes(model, images, labels, self.layer, create_graph=create_graph)
        return (slopes.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu()


def features_and_slopes(
    model: nn.Module, images: Tensor, labels: Tensor, layer: str, *, create_graph: bool
) -> tuple[Tensor, Tensor]:
    """Return output and gradient of a layer, (N, k, h, w)."""
    logits, features = _features(model, images, layer)
    explained = logits.gather(1, labels.unsqueeze(1)).sum()
    (slopes,) = torch.autograd.grad(explained, features, create_graph=create_graph)
    return features, slopes


def _features(model: nn.Module, images: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """(N, K) logits and (N, k, h, w) output of a layer.

    Without a name it is the last output with more than one position.
    """
    modules = [m for name, m in model.named_modules() if not layer or f".{name}".endswith(f".{layer}")]
    if not modules:
        raise UsageError(f"expected a network with a module {layer!r}, got none; correct the layer")
    found: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, output: Any) -> None:  # noqa: ARG001
        if isinstance(output, Tensor) and output.dim() == 4 and output.shape[2] * output.shape[3] > 1:
            found[:] = [output]

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        logits = model(images)
    finally:
        for handle in handles:
            handle.remove()
    if not found:
        raise UsageError("expected a network with feature maps of more than one position, got none; choose another map")
    return logits, found[0]
