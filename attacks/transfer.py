"""Images crafted by another attack on another network.

The attacked network is never looked at.
"""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, CraftedOn, Victim
from bench.core.schemas.protocol import Component, Knowledge, Name, ThreatModel


@dataclass(frozen=True, kw_only=True)
class Transfer(Attack):
    """Images that `attack` with `params` finds on the network `model`.

    The best iterate is chosen on the source network alone, by its own predictions and heatmaps of the same class; the
    attacked network is not looked at, and judged as always. Where this attack beats the same attack with gradients of
    the attacked network, the gradients were masked.

    Source:
        Papernot, McDaniel, Goodfellow 2016; Singh et al. 2020, table 6, for predictions.
        Differs: any registered attack, so explanations too; one source network, not an ensemble.
    """

    version: ClassVar[int] = 1
    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "Papernot, McDaniel, Goodfellow 2016"

    model: str = "hub:natural-wrn28"
    """The network that the attack is run on: a name of the registry after `hub:`, or the file of an entry."""
    attack: Name = "ifia-topk"
    """Name of the attack."""
    params: dict[str, Any] = Field(default_factory=dict)
    """Its parameters; the others keep their defaults."""

    @property
    def crafted_on(self) -> CraftedOn:
        """Return the source network and the attack to run there."""
        return CraftedOn(self.model, Component(name=self.attack, params=self.params))

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): the proposals of the attack on the source."""
        there, attack = victim.stand_in()
        return attack.perturb(there, images, labels, threat=threat, rng=rng)
