"""What a metric promises: one number for each sample of a pair."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.schemas.protocol import Direction


@dataclass(frozen=True)
class View:
    """N images, and what the real (ReLU) network says and shows of them."""

    images: Tensor
    """(N, C, H, W)."""
    logits: Tensor
    """(N, K)."""
    attribution: Tensor
    """(N, C, H, W), signed."""
    heatmap: Tensor
    """(N, H, W)."""


class Probe(ABC):
    """What a metric may ask of the judged network about the N samples of a pair, in the pair's order."""

    labels: Tensor
    """(N,) classes whose logits are explained, the same before and after."""
    rng: SampleRng
    """The metric's own streams; a metric forks them by its name."""

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """(N, K) logits at (N, C, H, W) images, one for each sample."""

    @abstractmethod
    def attribute(self, images: Tensor) -> Tensor:
        """(N, C, H, W) attribution of the explained logits at one image for each sample, as the judge makes it."""

    @abstractmethod
    def gradient(self, images: Tensor) -> Tensor:
        """(N, C, H, W) gradient of the explained logits at one image for each sample."""


@dataclass(frozen=True)
class Pair:
    """N samples before and after an attack, as metrics see them."""

    before: View
    after: View
    labels: Tensor
    """(N,) true classes."""
    feasible: Tensor | None = None
    """(N,) bool, False where the attack's image changed a class that had to stay, so that `after` is the clean image;
    None where nothing was undone."""
    probe: Probe | None = None
    """The judged network, for metrics that ask it; None where there is none to ask, as during an attack."""


class Metric(ABC):
    """One number per sample of a pair."""

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]]
    higher_is: ClassVar[Direction]
    asks_model: ClassVar[bool] = False
    """Whether it needs the pair's probe; then it cannot be what attacks select by."""
    reads_maps: ClassVar[bool] = True
    """Whether it looks at attributions or heatmaps; under a protocol of which no metric does, none are made."""

    @property
    def looks_at_clean_alone(self) -> bool:
        """Whether it does not look at the attack's image, so that one answer holds for every attack."""
        return False

    @abstractmethod
    def __call__(self, pair: Pair) -> Tensor:
        """(N,) values; NaN where undefined.

        Raises:
            BenchError: if it asks the model, and the pair has no probe.
        """
