"""The parameter-free worst case, auto 2.

It is an ordered, frozen suite of adaptive searches, judged together.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import top_k_mask
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, HeatmapLoss, Victim, View
from bench.core.schemas.protocol import Knowledge, ThreatModel

from ._adaptive import Goal, adaptive_ascent, by_loss, by_primary
from ._losses import cosine_distance, mass_outside, order, rank_distance

TOP_SHARE = 100 / 1024
"""Share of a map's pixels that is its top: 100 of 1024 as in the papers, at every size."""


def _ranks(before: View) -> tuple[HeatmapLoss, tuple[Tensor, ...]]:
    return rank_distance, (order(before.heatmap),)


def _top(before: View) -> tuple[HeatmapLoss, tuple[Tensor, ...]]:
    pixels = before.heatmap[0].numel()
    return mass_outside, (top_k_mask(before.heatmap, max(1, round(TOP_SHARE * pixels))),)


def _angle(before: View) -> tuple[HeatmapLoss, tuple[Tensor, ...]]:
    return cosine_distance, (before.heatmap,)


SUITE: dict[str, Goal] = {
    "ranks": Goal(_ranks, by_primary),
    "top": Goal(_top, by_loss(_top)),
    "angle": Goal(_angle, by_loss(_angle)),
}
"""In this order: the order of all pixels (rank correlations), the pixels on top (intersections), the angle (cosine)."""


@dataclass(frozen=True, kw_only=True)
class Auto(Attack):
    """The worst image of a suite of searches, per metric.

    The suite has no parameter but its length. Three losses, each climbed from a random start of its own with momentum,
    an adaptive step per image and a surrogate whose sharpness grows: the correlation of log-heatmaps with the clean
    ranks, the mass outside the clean top, the cosine. The judge measures every member's image and keeps, for each
    metric, the worst that is allowed; `winner` names the member that is worst by the primary metric. One member costs 3
    * nodes * steps gradients, as many as `ifia-topk` with as many steps; the standard suite three times that.

    Source:
        Croce, Hein 2020 (APGD, and the ensemble of AutoAttack); Ghorbani, Abid, Zou 2019 (top-k loss); Ivankay et al.
        2020 (cosine).
        Differs: losses on heatmaps in place of predictions; the rank loss is ours: a rank correlation has no gradient,
        its Pearson correlation with log-heatmaps, whose heavy tails are cut, follows it.
    """

    version: ClassVar[int] = 2
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Croce, Hein 2020; Ghorbani, Abid, Zou 2019"

    steps: int = Field(default=50, ge=1)
    """Steps per search; there are three searches."""

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the searches."""
        return tuple(SUITE)

    def propose(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(M, N, C, H, W): one image per member of the suite."""
        return torch.stack(
            [
                adaptive_ascent(victim, images, labels, goal, threat=threat, rng=rng.fork(name), steps=self.steps)
                for name, goal in SUITE.items()
            ]
        )

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's most damaging proposal.

        It has the lowest similarity to the clean heatmap.
        """
        before = victim.observe(images, labels)
        proposals = self.propose(victim, images, labels, threat=threat, rng=rng)
        similarity = torch.stack([victim.similarity(before, victim.observe(each, labels)) for each in proposals])
        return proposals[similarity.argmin(0), torch.arange(len(images), device=images.device)]
