"""No change at all: what a model makes of a set of images as it is."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Unchanged(Attack):
    """x' = x: the floor of changes that no adversary chose, and all that a protocol of another image set needs.

    Source:
        The clean column of every table.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "none"
    aim: ClassVar[Aim] = "nothing"

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """(N, C, H, W): the images."""
        return images.clone()
