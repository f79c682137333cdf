"""No change of the image.

A run shows the model on a set of images as it is.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Aim, Knowledge, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Unchanged(Attack):
    """Unchanged images, x' = x.

    It is the floor of changes that no adversary chose, and the attack for protocols of another image set.

    Source:
        The clean column of every table.
        Differs: nothing.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "none"
    aim: ClassVar[Aim] = "nothing"

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:  # noqa: ARG002
        """Return the (N, C, H, W) images."""
        return images.clone()
