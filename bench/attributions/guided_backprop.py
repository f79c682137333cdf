"""Guided backpropagation: the gradient through ReLUs that let positive gradients pass only (reported, not ranked)."""

from __future__ import annotations

from typing import ClassVar

from captum.attr import GuidedBackprop as CaptumGuidedBackprop
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._opaque import OpaqueMethod


@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(OpaqueMethod):
    """The gradient of z_y, where each ReLU sets negative gradients to zero on the way back.

    A stable map proves little, so it is reported, and no protocol that ranks may judge by it. Activations must be
    `nn.ReLU` modules; functional ones are silently left as they are.

    Source:
        Springenberg et al. 2015, computed by captum.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    unfit_to_rank: ClassVar[str] = "it hardly depends on the class and on upper layers (Adebayo et al. 2018)"

    def explain(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W) guided gradient."""
        guided: Tensor = CaptumGuidedBackprop(model).attribute(images, target=labels)
        return guided
