"""ART's inner attack on the alignment of image and attribution."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import top_k_mask
from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel

from ._search import BestIterate, uniform_start


@dataclass(frozen=True, kw_only=True)
class Alignment(Attack):
    """Increase log(1 + exp(d(x', A+) - d(x', A-))) by signed gradient steps.

    d is 1 - cosine over the coordinates S. A+ and A- are the signed attributions of the explained class and of the
    largest other logit; S holds the `top_k` coordinates of the largest |A+| at the random start, and does not change.
    It is the adaptive attack on networks that were trained to be aligned.

    Source:
        Singh et al. 2020, ART, the search inside its training. Reference code: nupurkmr9/Attributional-Robustness.
        Differs: the attribution is the protocol's (the reference's is the gradient, which a protocol may choose); the
        anchor is x' - 1/2, as attacks do not see the network's normalisation; the other class is the real network's at
        each iterate; eval mode; the best iterate by the protocol's primary metric; 50 steps of 1/255, not 3 of 5/255.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Singh et al. 2020"

    steps: int = Field(default=50, ge=1)
    """Steps per restart."""
    step_size: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    """Length of a step in each pixel, in pixel units."""
    restarts: int = Field(default=1, ge=1)
    """Number of searches, each from its own random start; the best iterate of all searches counts."""
    top_k: int = Field(default=1000, ge=1)
    """Number of coordinates, with the largest |A+| at the random start, over which the cosines are taken."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's most damaging allowed iterate.

        It has the lowest similarity to the clean heatmap.
        """
        before, best = victim.observe(images, labels), BestIterate(images)
        for restart in range(self.restarts):
            current = uniform_start(images, threat, rng.fork("start", restart))
            seen = victim.observe(current, labels)
            largest = largest_coordinates(seen.attribution, self.top_k)
            for _ in range(self.steps):
                classes = (labels, runner_up(seen.logits, labels))
                gradient = victim.attribution_gradient(current, classes, misalignment, largest)
                current = project(images, current + float(self.step_size) * gradient.sign(), threat)
                seen = victim.observe(current, labels)
                best.update(current, victim.similarity(before, seen))
        return best.images


def misalignment(images: Tensor, own: Tensor, other: Tensor, mask: Tensor) -> Tensor:
    """(N,) soft-margin triplet losses with (N, C, H, W) images as anchors.

    They grow as the own class's attribution moves away, and the other's comes near.
    """
    anchor = (images - 0.5) * mask
    return F.softplus(_distance(anchor, own * mask) - _distance(anchor, other * mask))


def largest_coordinates(attribution: Tensor, k: int) -> Tensor:
    """(N, C, H, W) bool masks of the k largest absolute coordinates.

    If there are fewer, the mask holds all coordinates.
    """
    flat = attribution.abs().flatten(1).unsqueeze(1)
    return top_k_mask(flat, min(k, flat.shape[2])).view_as(attribution)


def runner_up(logits: Tensor, labels: Tensor) -> Tensor:
    """(N,) the class of the largest logit other than `labels`."""
    return logits.scatter(1, labels.unsqueeze(1), -torch.inf).argmax(1)


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return 1 - F.cosine_similarity(first.flatten(1), second.flatten(1), dim=1)
