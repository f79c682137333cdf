"""Targeted manipulation of each heatmap towards another image's heatmap."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import normalize
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, PixelFraction, ThreatModel

from ._search import Search, adam_steps, climb
from .target_map import closeness


@dataclass(frozen=True, kw_only=True)
class ShuffledTargetMap(Attack):
    """Lower the heatmap's squared distance from another image's heatmap, by Adam.

    The images of the protocol are shuffled, with the protocol's seed, so that each is the target of exactly one other.
    A target is the clean image's map for its own predicted class. Maps have mean 1.

    Source:
        Singh et al. 2020 (ART), section 5: the attack of Dombrowski et al. 2019 on gradient maps, with a shuffled batch
        of test images as targets.
        Differs: the paper's steps, rate and radius were not at hand: this is `target-map` with other targets, so the
        search stays in the threat model's ball and keeps the best iterate by the protocol's primary metric. The
        shuffle is of the whole sample set, not of a batch, and leaves no image in its place.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Singh et al. 2020"

    steps: int = Field(default=50, ge=1)
    """Steps of Adam per restart."""
    restarts: int = Field(default=1, ge=1)
    """Number of searches, each from its own random start; the best iterate of all searches counts."""
    learning_rate: PixelFraction = Field(default="1/255", validate_default=True, gt=0)
    """Adam's learning rate, in pixel units."""

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's most damaging allowed iterate.

        It has the lowest similarity to the clean heatmap.

        Raises:
            BenchError: if the protocol has one image only.
        """
        target = partner_maps(victim)
        search = Search(self.restarts, self.steps, partial(adam_steps, float(self.learning_rate)))
        return climb(victim, images, labels, lambda _: (closeness, (target,)), threat=threat, rng=rng, search=search)


def partner_maps(victim: Victim) -> Tensor:
    """(N, H, W): for each sample its partner's heatmap, of mean 1.

    It explains the class that the network predicts for the partner.
    """
    partners = victim.partners()
    return normalize(victim.observe(partners, victim.logits(partners).argmax(1)).heatmap)
