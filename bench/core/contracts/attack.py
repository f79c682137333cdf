"""What an attack promises, and what its victim lets it do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts.metric import View
from bench.core.schemas.protocol import Aim, Component, Knowledge, ThreatModel

HeatmapLoss = Callable[..., Tensor]
"""(N, H, W) heatmaps and per-sample targets to (N,) losses that an attack wants to see grow."""

PredictionLoss = Callable[..., Tensor]
"""(N, K) logits and per-sample targets to (N,) losses."""

AttributionLoss = Callable[..., Tensor]
"""(N, C, H, W) images, as many (N, C, H, W) attributions as classes are explained, and targets to (N,) losses."""


class Cost(NamedTuple):
    """What an attack spent on an image."""

    forward: int
    """Forward passes."""
    gradient: int
    """Gradients of a logit with respect to an image; a Hessian-vector product counts as one more."""


class Victim(ABC):
    """What an adversary may touch, bound to one batch of samples. Every look is counted."""

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """(N, K) logits of the real network."""

    @abstractmethod
    def observe(self, images: Tensor, labels: Tensor) -> View:
        """Logits, attributions and heatmaps of the real network."""

    @abstractmethod
    def loss_gradient(
        self,
        images: Tensor,
        labels: Tensor,
        loss: HeatmapLoss,
        *targets: Tensor,
        sharpness: float = 1.0,
        turn: int = 0,
        turns: int = 1,
    ) -> Tensor:
        """(N, C, H, W): gradient of `loss(heatmap, *targets)` through the smooth surrogate's heatmap.

        `targets` are tensors whose first axis is the batch; each image meets its own slice of them. `sharpness` is a
        factor on the protocol's sharpness of the surrogate. Of the heatmap's nodes every `turns`-th counts, beginning
        with the `turn`-th.
        """

    @abstractmethod
    def attribution_gradient(
        self, images: Tensor, classes: Sequence[Tensor], loss: AttributionLoss, *targets: Tensor
    ) -> Tensor:
        """(N, C, H, W): gradient of `loss(images, *attributions, *targets)` through the smooth surrogate.

        `classes` are (N,) labels, one tensor for each of the signed attributions that the loss takes.
        """

    @abstractmethod
    def prediction_gradient(self, images: Tensor, loss: PredictionLoss, *targets: Tensor) -> Tensor:
        """(N, C, H, W): gradient of `loss(logits, *targets)` through the real network."""

    @abstractmethod
    def donors(self, count: int) -> Tensor:
        """(count, C, H, W) clean images of the same data set, the same for every sample: an adversary has some."""

    @abstractmethod
    def stand_in(self) -> tuple[Victim, Attack]:
        """Give out the network that the attack's `crafted_on` names, and the attack to run there.

        Looks at the stand-in are not looks at the victim: they are not counted here.
        """

    @abstractmethod
    def similarity(self, before: View, after: View) -> Tensor:
        """(N,) the protocol's primary metric, signed so that lower is more damage.

        +inf where the prediction had to be kept and was not, or where the metric is undefined.
        """

    @abstractmethod
    def only(self, samples: Tensor) -> Victim:
        """Return the victim of some samples of the batch, (n,) int64: what is spent there counts for them alone."""

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """What was spent so far on the image that cost most."""


class CraftedOn(NamedTuple):
    """Another network, by its reference, and the attack that is run there."""

    model: str
    attack: Component


class Attack(ABC):
    """Proposes perturbed images. It need not project, judge or count: the evaluation does not trust it."""

    version: ClassVar[int] = 1
    older: ClassVar[tuple[type[Attack], ...]] = ()
    """Earlier versions that published protocols still run, newest first."""
    knowledge: ClassVar[Knowledge]
    source: ClassVar[str]
    aim: ClassVar[Aim] = "explanation"
    """What it wants to change; an attack on the prediction makes sense where the class need not stay."""
    one_by_one: ClassVar[bool] = False
    """Whether it is given one image at a time: a library's stopping rule would tie a batch, and its cost, together."""

    @property
    def search_attribution(self) -> Component | None:
        """The attribution that it searches with, if not the protocol's."""
        return None

    @property
    def crafted_on(self) -> CraftedOn | None:
        """What `victim.stand_in` shall give out: the machine fetches and verifies it before anything runs."""
        return None

    series: ClassVar[bool] = False
    """Whether its members are not rivals but levels of one change: then each is judged for itself, and their mean."""

    @property
    def members(self) -> tuple[str, ...]:
        """Names of the searches of a suite or the levels of a series, each with a proposal of its own.

        One without a name for a plain attack.
        """
        return ("",)

    @abstractmethod
    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W) proposals for N images of which the logits `labels` are explained."""

    def propose(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(M, N, C, H, W): a proposal of each of the M members.

        Of a suite the judge takes the worst for each metric, of a series the mean.
        """
        return torch.stack([self.perturb(victim, images, labels, threat=threat, rng=rng)])
