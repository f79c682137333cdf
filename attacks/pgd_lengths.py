"""On the prediction: one PGD search, judged after several numbers of steps."""

from __future__ import annotations

from typing import Annotated, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.norms import project
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, PixelFraction, ThreatModel

from ._predictions import cross_entropy, margin, steepest
from ._search import BestIterate, uniform_start

Length = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True)
class PgdLengths(Attack):
    """PGD on the cross-entropy, judged after several numbers of steps.

    It has one random start. At each length the iterate of the lowest margin counts. A search ends once the class is
    another one: no step after it can change the robust accuracy. So the longest search costs its full length on robust
    images alone. If robust accuracy is lower for a long search than for a short one, the short search was too weak.

    Source:
        Madry et al. 2018; Singh et al. 2020 evaluate with 40, 100 and 500 steps of 2/255.
        Differs: the best iterate, where the references return the last; one search for all lengths.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "white-box"
    source: ClassVar[str] = "Madry et al. 2018"
    aim: ClassVar[Aim] = "prediction"
    series: ClassVar[bool] = True

    lengths: tuple[Length, ...] = Field(default=(40, 100, 500), min_length=1)
    """Numbers of steps, in rising order, after each of which the search is judged."""
    step_size: PixelFraction = Field(default="2/255", validate_default=True, gt=0)
    """Length of a step in pixel units: of every pixel under L-infinity, of the whole step under L2."""

    @property
    def members(self) -> tuple[str, ...]:
        """Return the lengths as names."""
        return tuple(str(length) for length in self.lengths)

    def propose(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(M, N, C, H, W): the best iterates after each length."""
        best, found = BestIterate(images), {}
        current = uniform_start(images, threat, rng.fork("start"))
        for step in range(1, max(self.lengths) + 1):
            left = (best.similarity >= 0).nonzero().squeeze(1)
            if len(left):
                some = victim.only(left)
                gradient = some.prediction_gradient(current[left], cross_entropy, labels[left])
                moved = current[left] + float(self.step_size) * steepest(gradient, threat)
                current[left] = project(images[left], moved, threat)
                margins = torch.full_like(best.similarity, torch.inf)
                margins[left] = margin(some.logits(current[left]), labels[left]).double()
                best.update(current, margins)
            if step in self.lengths:
                found[step] = best.images
        return torch.stack([found[length] for length in self.lengths])

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): the best iterates after the last length."""
        return self.propose(victim, images, labels, threat=threat, rng=rng)[-1]
