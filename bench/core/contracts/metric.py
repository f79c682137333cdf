"""The contract of metrics: one number for each sample of a pair."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts.annotation import Annotation, AnnotationKind
from bench.core.contracts.plugin import Plugin
from bench.core.schemas.protocol import Direction

Role = Literal["companion", "faithfulness", "sparsity", None]
"""Why a board shows a metric beside the one that ranks; None where it has no column of its own."""


@dataclass(frozen=True)
class View:
    """N images with the real network's logits, attributions and heatmaps.

    The real network is the one with ReLU, not its smooth surrogate.
    """

    images: Tensor
    """(N, C, H, W)."""
    logits: Tensor
    """(N, K)."""
    attribution: Tensor
    """(N, C, H, W), signed."""
    heatmap: Tensor
    """(N, H, W)."""


class Probe(ABC):
    """Questions that a metric may ask the judged network.

    They are about the N samples of a pair, in the pair's order.
    """

    labels: Tensor
    """(N,) classes whose logits are explained, the same before and after the attack."""
    rng: SampleRng
    """Random streams for the metric, which forks them by its own name."""

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """(N, K): the logits at one image per sample."""

    @abstractmethod
    def attribute(self, images: Tensor) -> Tensor:
        """(N, C, H, W): the judge's attribution at one image per sample.

        It explains the logits of `labels`.
        """

    @abstractmethod
    def gradient(self, images: Tensor) -> Tensor:
        """(N, C, H, W): gradient of the explained logits, one per sample."""

    @abstractmethod
    def partner_heatmap(self) -> Tensor:
        """(N, H, W): the clean heatmap of each sample's partner.

        A partner is another image of the protocol (`Victim.partners`); its own predicted class is explained.
        """


@dataclass(frozen=True)
class Pair:
    """N samples before and after an attack, as metrics see them."""

    before: View
    after: View
    labels: Tensor
    """(N,) true classes."""
    feasible: Tensor | None = None
    """(N,) bool; False where the attack changed a class that must stay, so that `after` is the clean image.

    None if `after` always is the attack's image."""
    probe: Probe | None = None
    """The judged network, for metrics that ask it; None during an attack, for example."""
    annotations: tuple[Annotation, ...] = ()
    """One per sample, for metrics that need them; empty where the data set has none, and during an attack."""


class Metric(Plugin, ABC):
    """One number per sample of a pair."""

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]]
    higher_is: ClassVar[Direction]
    asks_model: ClassVar[bool] = False
    """Whether it needs the pair's probe; then attacks cannot select by it."""
    reads_maps: ClassVar[bool] = True
    """Whether it looks at attributions or heatmaps; if no metric of a protocol does, none are made."""
    needs: ClassVar[tuple[AnnotationKind, ...]] = ()
    """Annotations any one of which it needs; then attacks cannot select by it."""
    role: ClassVar[Role] = None
    """Why a board shows it beside the primary metric. A board takes one companion and all others that it measures."""
    place: ClassVar[int] = 0
    """Its place among the metrics of its role."""

    @property
    def looks_at_clean_alone(self) -> bool:
        """Return whether the metric ignores the attack's image.

        Then its value is the same for every attack.
        """
        return False

    def by_level(self, pair: Pair) -> dict[str, Tensor]:  # noqa: ARG002 - most metrics have one value
        """Return values, (N,) each, by the level of a setting.

        A neutral metric that has levels keeps them beside its value.
        """
        return {}

    @abstractmethod
    def __call__(self, pair: Pair) -> Tensor:
        """(N,): the values, NaN where undefined.

        Raises:
            BenchError: if it asks the model, and the pair has no probe; or needs annotations, and it has none.
        """
