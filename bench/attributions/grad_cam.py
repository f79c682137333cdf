"""Grad-CAM, the weighted last feature maps of a network.

The weights are the mean gradients, and the map is enlarged to the image. The last feature maps are weighted by their
mean gradients and enlarged to the image.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.core.compute.chunks import image_slices
from bench.core.compute.rng import SampleRng
from bench.core.contracts import AttributionMethod
from bench.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class GradCam(AttributionMethod):
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
    random: ClassVar[bool] = False

    layer: str = ""
    """Name of the module whose output is F, within the network, such as layer3.2.bn2; empty: the last one."""

    def attribute(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        rng: SampleRng,  # noqa: ARG002
        create_graph: bool = False,
    ) -> Tensor:
        """(N, C, H, W) non-negative attribution of logit `labels` at `images`.

        It has a graph if `create_graph` is set.

        Raises:
            UsageError: if the network has no such module, or no module with feature maps.
        """
        if create_graph:
            return _enlarged_map(model, images, labels, self.layer, create_graph=True)
        parts = []
        for part in image_slices(len(images), self.nodes_per_image, images.device):
            leaf = images[part].detach().requires_grad_()
            parts.append(_enlarged_map(model, leaf, labels[part], self.layer, create_graph=False).detach())
        return torch.cat(parts)


def _enlarged_map(model: nn.Module, images: Tensor, labels: Tensor, layer: str, *, create_graph: bool) -> Tensor:
    logits, features = _features(model, images, layer)
    explained = logits.gather(1, labels.unsqueeze(1)).sum()
    (gradients,) = torch.autograd.grad(explained, features, create_graph=create_graph)
    weighted = (gradients.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu()
    enlarged = F.interpolate(weighted, size=tuple(images.shape[2:]), mode="bilinear", align_corners=False)
    return (enlarged / images.shape[1]).expand_as(images).contiguous()


def _features(model: nn.Module, images: Tensor, layer: str) -> tuple[Tensor, Tensor]:
    """(N, K) logits and (N, k, h, w) output of a layer.

    Without a name it is the last output with more than one position.
    """
    modules = [m for name, m in model.named_modules() if not layer or f".{name}".endswith(f".{layer}")]
    if not modules:
        raise UsageError(f"expected a network with a module {layer!r}, got none; correct the layer of grad-cam")
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
        raise UsageError("expected a network with feature maps of more than one position, got none; not for grad-cam")
    return logits, found[0]
