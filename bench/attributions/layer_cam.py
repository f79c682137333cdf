"""LayerCAM, feature maps weighted position by position."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._maps import MapMethod
from bench.attributions.grad_cam import features_and_slopes


@dataclass(frozen=True, kw_only=True)
class LayerCam(MapMethod):
    """Feature maps, each position weighted by its own positive gradient.

    A = ReLU(sum over k of ReLU(dz_y/dF_k) F_k), enlarged bilinearly. F is the last output of a module that has channels
    and more than one position, as in `grad-cam`; earlier layers give finer maps.

    Source:
        Jiang et al. 2021.
        Differs: one layer; the paper also fuses the maps of several, scaled by tanh.
    """

    version: ClassVar[int] = 1

    layer: str = ""
    """Name of the module whose output is F, within the network, such as layer3.2.bn2; empty: the last one."""

    def small_map(self, model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:
        """(N, 1, h, w) non-negative map."""
        features, slopes = features_and_slopes(model, images, labels, self.layer, create_graph=create_graph)
        return (slopes.relu() * features).sum(1, keepdim=True).relu()
