"""Changes of the image at several levels, not chosen by an adversary."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, ThreatModel


class ChangeSeries(Attack):
    """A change of the images at several levels.

    It does not look at the network.
    """

    knowledge: ClassVar[Knowledge] = "none"
    aim: ClassVar[Aim] = "nothing"
    series: ClassVar[bool] = True

    @abstractmethod
    def changed(self, images: Tensor, rng: SampleRng) -> list[Tensor]:
        """Return one (N, C, H, W) tensor per member, in their order."""

    def propose(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """(M, N, C, H, W): the images at each level."""
        return torch.stack(self.changed(images, rng))

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): the images at the last level."""
        return self.propose(victim, images, labels, threat=threat, rng=rng)[-1]
