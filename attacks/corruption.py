"""The common corruptions of CIFAR-10-C at five severities.

They are noise, blur, weather and digital faults.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng

from ._corruptions import CORRUPTIONS
from ._series import ChangeSeries

Kind = Literal[
    "gaussian-noise", "shot-noise", "impulse-noise", "defocus-blur", "glass-blur", "motion-blur", "zoom-blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic-transform", "pixelate", "jpeg-compression",
]  # fmt: skip
Severity = Literal[1, 2, 3, 4, 5]


@dataclass(frozen=True, kw_only=True)
class Corruption(ChangeSeries):
    """Every corruption of CIFAR-10-C at every severity, with its own strengths.

    Images are 8-bit, as in the published files. Maintained libraries (imagecorruptions, corrupt-tta) have the strengths
    of ImageNet-C alone, which leave little of 32 x 32 pixels: their Gaussian noise goes from 0.08 to 0.38 where
    CIFAR-10-C's goes from 0.04 to 0.10. A change for a protocol of epsilon 1.

    Source:
        Hendrycks, Dietterich 2019. Reference code: hendrycks/robustness, make_cifar_c.py, whose constants these are.
        Differs: one fixed draw for each sample, kind and severity. The ice of `frost` is a cloud, where the reference
        cuts it from six photographs. `glass-blur` copies neighbours, as the reference's exchange between views of one
        array does. Motion is smeared by our code, after ImageMagick's.
    """

    version: ClassVar[int] = 1
    source: ClassVar[str] = "Hendrycks, Dietterich 2019"

    kinds: tuple[Kind, ...] = Field(default=tuple(CORRUPTIONS), validate_default=True, min_length=1)
    """The corruptions, each applied at every severity."""
    severities: tuple[Severity, ...] = Field(default=(1, 2, 3, 4, 5), min_length=1)
    """From 1, the weakest, to 5."""

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names `<kind>-<severity>`."""
        return tuple(f"{kind}-{severity}" for kind in self.kinds for severity in self.severities)

    def changed(self, images: Tensor, rng: SampleRng) -> list[Tensor]:
        """Return (N, C, H, W) images for every kind and severity."""
        return [self._corrupted(images, kind, s, rng) for kind in self.kinds for s in self.severities]

    def _corrupted(self, images: Tensor, kind: Kind, severity: int, rng: SampleRng) -> Tensor:
        """Return the (N, C, H, W) corrupted images."""
        streams = rng.fork(kind, severity).streams()
        found = [
            CORRUPTIONS[kind](image, severity - 1, stream.generator())
            for image, stream in zip(images.double().cpu(), streams, strict=True)
        ]
        return ((torch.stack(found).clamp(0, 1) * 255).floor() / 255).to(images)
