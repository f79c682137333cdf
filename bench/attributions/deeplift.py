"""DeepLIFT (rescale rule) against the black image."""

from __future__ import annotations

from typing import ClassVar

import torch
from captum.attr import DeepLift
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._completeness import gap_to_black
from bench.attributions._opaque import OpaqueMethod


@dataclass(frozen=True, kw_only=True)
class Deeplift(OpaqueMethod):
    """Contributions by DeepLIFT's rescale rule.

    A(x) = (x - b) * product of multipliers. The multiplier of a ReLU is (change of output) / (change of input) between
    b and x. It is complete if all activations are `nn.ReLU` modules, one per call site; other activations show as a
    completeness gap.

    Source:
        Shrikumar, Greenside, Kundaje 2017 (rescale), computed by captum.
        Differs: nothing; the baseline b is the black image.
    """

    version: ClassVar[int] = 1
    substitute: ClassVar[str] = "input-x-gradient"

    @property
    def nodes_per_image(self) -> int:
        """Two, the image and the baseline."""
        return 2

    def explain(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W) contributions to the rise over the black image."""
        contributions: Tensor = DeepLift(model).attribute(images, torch.zeros_like(images), target=labels)
        return contributions

    def completeness_gap(self, model: nn.Module, images: Tensor, labels: Tensor, attribution: Tensor) -> Tensor:
        """(N,) |sum of A - (z_y(x) - z_y(black))|, in logits."""
        return gap_to_black(model, images, labels, attribution)
