"""The worst image that three searches find within one budget.

Searches go for the order, the top and the angle of a heatmap.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.heatmap import top_k_mask
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim, View
from bench.core.schemas.protocol import Knowledge, ThreatModel

from ._auto_2 import Auto as Auto2
from ._losses import cosine_distance, mass_inside
from ._search import Objective, uniform_start
from ._soft_ranks import discordance, exchanged_top, in_order
from ._trust import MAP_STEP, Ascent, Measure, Trail

TOP_SHARE = 100 / 1024
"""Share of a map's pixels that is its top: 100 of 1024 as in the papers, at every size."""

SHARES = {"ranks": 0.4, "top": 0.42, "angle": 0.18}
"""Share of the steps that each search takes."""

PORTION = 0.1
"""Share of the steps in which steps that an image did not need are spent."""


def _top(heatmap: Tensor) -> Tensor:
    return top_k_mask(heatmap, max(1, round(TOP_SHARE * heatmap[0].numel())))


def _overlap(before: View, after: View) -> Tensor:
    """(N,) numbers of clean top pixels that still are on top.

    Among equals, the mass in the top decides.
    """
    mask = _top(before.heatmap)
    kept = (mask & _top(after.heatmap)).flatten(1).sum(1)
    return kept + mass_inside(after.heatmap, mask) / (2 * mask[0].numel())


def _likeness(before: View, after: View) -> Tensor:
    return -cosine_distance(after.heatmap, before.heatmap)


OBJECTIVES: dict[str, Objective] = {
    "ranks": lambda before: (discordance, in_order(before.heatmap)),
    "top": lambda before: (exchanged_top, (_top(before.heatmap),)),
    "angle": lambda before: (cosine_distance, (before.heatmap,)),
}
"""What each search increases; the order of all pixels first, since its iterates are good starts for the others."""


@dataclass(frozen=True, kw_only=True)
class Auto(Attack):
    """The worst image of three searches, per metric.

    The budget is the only parameter. The searches climb a soft Kendall correlation of log-heatmaps, a soft top-k
    intersection and the cosine distance. The first begins at a random place, the others at the worst place so far for
    their own measure. Each place is looked at on the real network, and for each measure the worst allowed one is kept.
    A step costs three evaluations of the map: two for its gradient through the surrogate, one for the look. Where
    successive gradients disagree, steps are shorter. An image that lost its class goes back along the gradient of the
    margin. An image whose whole top has changed leaves the search for it, and its steps
    go to a second search for the order.

    Source:
        Croce, Hein 2020 (APGD, and the ensemble of AutoAttack); Ghorbani, Abid, Zou 2019 (the top as a goal); Ivankay
        et al. 2020 (cosine).
        Differs: the losses are soft ranks on heatmaps; step sizes follow the agreement of gradients; the searches share
        what they find.
    """

    version: ClassVar[int] = 3
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Croce, Hein 2020; Ghorbani, Abid, Zou 2019"
    older: ClassVar[tuple[type[Attack], ...]] = (Auto2,)

    budget: int = Field(default=200, ge=20)
    """Evaluations of the map per image: 1 for a look at the real network, 2 for a gradient through the surrogate."""

    @property
    def steps(self) -> int:
        """Return the steps of all searches together.

        Two looks are for the clean image and the start.
        """
        return (self.budget - 2) // MAP_STEP

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the measures for which the worst place is proposed."""
        return tuple(OBJECTIVES)

    def propose(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(M, N, C, H, W): the worst images of all searches.

        There is one image for every measure.
        """
        measures = {
            "ranks": Measure(),
            "top": Measure(_overlap, done=1.0),
            "angle": Measure(_likeness),
        }
        trail = Trail(victim, images, labels, measures)
        trail.look(torch.arange(len(images), device=images.device), uniform_start(images, threat, rng))
        ends = [0, *(round(self.steps * share) for share in accumulate(SHARES.values()))]
        spare = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        for (name, objective), (begin, end) in zip(OBJECTIVES.items(), pairwise(ends), strict=True):
            spare += Ascent(trail, objective, trail.worst[name].images, threat).climb(name, end - begin)
        self.spend(spare, trail, threat)
        return torch.stack([trail.worst[name].images for name in OBJECTIVES])

    def spend(self, spare: Tensor, trail: Trail, threat: ThreatModel) -> None:
        """Give steps that images did not need to their order.

        Images with about as many steps climb together.
        """
        portion = max(1, round(self.steps * PORTION))
        portions = spare // portion
        for count in sorted(set(portions.tolist())):
            ascent = Ascent(trail, OBJECTIVES["ranks"], trail.worst["ranks"].images, threat)
            ascent.climb("ranks", count * portion, portions == count)

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): every image's most damaging proposal.

        It has the lowest similarity to the clean heatmap.
        """
        return self.propose(victim, images, labels, threat=threat, rng=rng)[0]
