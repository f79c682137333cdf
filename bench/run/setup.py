"""The networks, attack and metrics that are built once per run."""

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
    """The networks, attack, metrics and rules of a run."""

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
    """(M, C, H, W) clean images of the protocol, which every attack may see."""
    other: StandIn | None = None
    """Source and attack of a transferred attack."""
    room: Room | None = None
    """The memory budget; None if memory is not limited."""
    precision: SearchPrecision = "float32"
    """Precision of the search. The judge always uses float32."""

    outlined: bool = False
    """Whether pages show outlines in place of the images."""

    def within_memory(self, work: Callable[[], Result]) -> Result:
        """Return the result of a piece of work within the memory budget."""
        return work() if self.room is None else self.room.give(work)

    @property
    def reads_maps(self) -> bool:
        """Return whether any metric looks at attributions or heatmaps.

        If not, none are made.
        """
        return any(metric.reads_maps for metric in self.metrics.values())

    def explained(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N,) int64: the class whose logit is explained."""
        return logits.argmax(1) if self.explain_predicted else labels.to(logits.device)

    def attack_rng(self, ids: tuple[str, ...]) -> SampleRng:
        """Return the random streams of the attack on samples."""
        return SampleRng(self.rng.fork("attack"), ids)

    def attribution_rng(self, ids: tuple[str, ...]) -> SampleRng:
        """Return the random streams of the attributions of samples."""
        return SampleRng(self.rng.fork("attribution"), ids)
