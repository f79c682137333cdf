"""Training on images with Gaussian noise."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student
from bench.core.schemas.protocol import PixelFraction


@dataclass(frozen=True, kw_only=True)
class Gaussian(Objective):
    """Cross-entropy on noisy images clip(x + sigma n).

    n is standard normal per pixel. It is the noise baseline N-epsilon, with sigma = epsilon.

    Source:
        Aggarwal et al. 2020, "N-epsilon".
        Differs: the paper leaves open what epsilon measures; here it is the standard deviation, in pixel units.
    """

    version: ClassVar[int] = 1

    sigma: PixelFraction = Field(default="8/255", validate_default=True)
    """Standard deviation of the noise, in pixel units."""

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Scalar mean cross-entropy of the noisy (N, C, H, W) images."""
        noise = torch.randn(images.shape, generator=rng.fork("noise").generator()).to(images)
        with student.fast():
            logits = student.model((images + float(self.sigma) * noise).clamp(0, 1))
        return F.cross_entropy(logits.float(), labels)
