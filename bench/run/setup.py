"""What is built once for a run: networks, attack, measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack, Metric
from bench.core.schemas.protocol import SearchPrecision, ThreatModel
from bench.run.attack.memory import Room
from bench.run.attack.victim import StandIn
from bench.run.attack.views import Explainer

Result = TypeVar("Result")


@dataclass(frozen=True)
class Setup:
    """What is built once for a run: networks, attack, measures."""

    model: nn.Module
    smooth: nn.Module
    attack: Attack
    threat: ThreatModel
    search: Explainer
    judge: Explainer
    metrics: dict[str, Metric]
    primary: str
    explain_predicted: bool
    rng: Rng
    device: torch.device
    top_k: int
    library: Tensor | None = None
    """(M, C, H, W) clean images that any attack may look at."""
    other: StandIn | None = None
    """What a transferred attack is crafted on."""
    room: Room | None = None
    """The memory that there is; None where it is not watched."""
    precision: SearchPrecision = "float32"
    """Precision of the search. The judge always uses float32."""

    def within_memory(self, work: Callable[[], Result]) -> Result:
        """Do a piece of work in the room that there is."""
        return work() if self.room is None else self.room.give(work)

    @property
    def reads_maps(self) -> bool:
        """Whether any metric looks at attributions or heatmaps; else none are made."""
        return any(metric.reads_maps for metric in self.metrics.values())

    def explained(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N,) int64: the class whose logit is explained."""
        return logits.argmax(1) if self.explain_predicted else labels.to(logits.device)

    def attack_rng(self, ids: tuple[str, ...]) -> SampleRng:
        """Return the streams by which samples are attacked."""
        return SampleRng(self.rng.fork("attack"), ids)

    def attribution_rng(self, ids: tuple[str, ...]) -> SampleRng:
        """Return the streams by which samples are explained."""
        return SampleRng(self.rng.fork("attribution"), ids)
