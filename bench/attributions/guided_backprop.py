"""Guided backpropagation, reported but not ranked.

ReLUs let only positive gradients pass.
"""

from __future__ import annotations

from typing import ClassVar

from captum.attr import GuidedBackprop as CaptumGuidedBackprop
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._opaque import OpaqueMethod


@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(OpaqueMethod):
    """The gradient of z_y without negative gradients behind ReLUs.

    Each ReLU sets negative gradients to zero in the backward pass. A stable map proves little, so the map is only
    reported; a ranked protocol must not judge by it. Activations must be `nn.ReLU` modules; functional activations keep
    their gradient without a warning.

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
