"""Images made from nothing: from a seed of its class's colours, by climbing the class's logit."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.norms import l2
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, PixelFraction, ThreatModel

from ._predictions import steepest

SEED_SIDE = 4
"""Pixels along a side of what a seed is drawn from: colours and their places, no shapes."""

RIDGE = 1e-4


def logit(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) z_y."""
    return logits.gather(1, labels.unsqueeze(1)).squeeze(1)


@dataclass(frozen=True, kw_only=True)
class Generate(Attack):
    """x_0 ~ N(mean_y, cov_y) at 4 x 4 pixels, enlarged; then x <- x + step g / |g|, within `radius` (L2) of x_0.

    g is the gradient of the class's logit: the sample's label where the protocol explains true classes. Mean and
    covariance are of the donors that the network puts into the class; the clean image is not looked at. An independent
    network judges the result through `transfer`. A protocol of epsilon 1 lets every image pass.

    Source:
        Santurkar et al. 2019; Singh et al. 2020 show such images.
        Differs: seeds from the protocol's own few images at 4 x 4 pixels with a ridge of 1e-4, so that they keep no
        shape; of a class without two donors, from all of them.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Santurkar et al. 2019"
    aim: ClassVar[Aim] = "prediction"

    steps: int = Field(default=60, ge=1)
    """Steps up the class's logit."""
    step_size: PixelFraction = Field(default="1/2", validate_default=True, gt=0)
    """Euclidean length of a step, in pixel units."""
    radius: PixelFraction = Field(default="30", validate_default=True, gt=0)
    """Euclidean distance from its seed within which an image stays, in pixel units."""
    donors: int = Field(default=100, ge=2)
    """How many of the protocol's first images the seeds' mean and covariance are taken from."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """(N, C, H, W): one image of its class for each sample."""
        seeds = self._seeds(victim, images, labels, rng)
        ball = ThreatModel(norm="l2", epsilon=self.radius)
        current, radius = seeds, float(self.radius)
        for _ in range(self.steps):
            step = float(self.step_size) * steepest(victim.prediction_gradient(current, logit, labels), ball)
            moved = current + step - seeds
            length = l2(torch.zeros_like(moved), moved).view(-1, 1, 1, 1)
            current = (seeds + moved * (radius / length.clamp(min=radius))).clamp(0, 1)
        return current

    def _seeds(self, victim: Victim, images: Tensor, labels: Tensor, rng: SampleRng) -> Tensor:
        """(N, C, H, W): a draw from the colours of each sample's class."""
        donors = victim.donors(self.donors)
        # One batch of the victim's size at a time would tie the cost to the batch: every image pays for every donor.
        predicted = torch.cat([victim.logits(donor.unsqueeze(0)) for donor in donors]).argmax(1)
        small = F.adaptive_avg_pool2d(donors, SEED_SIDE).double().flatten(1)
        noise = rng.fork("seed").normal((small.shape[1],)).to(small)
        shape = (1, images.shape[1], SEED_SIDE, SEED_SIDE)
        found = []
        for label, draw in zip(labels, noise, strict=True):
            own = small[predicted == label]
            own = own if len(own) > 1 else small
            factor = torch.linalg.cholesky(own.T.cov() + RIDGE * torch.eye(small.shape[1]).to(small))
            seed = (own.mean(0) + factor @ draw).view(shape).clamp(0, 1)
            found.append(F.interpolate(seed, images.shape[2:], mode="bilinear", align_corners=False))
        return torch.cat(found).to(images.dtype)
