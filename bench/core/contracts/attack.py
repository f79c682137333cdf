"""The contracts of attacks and of their victims."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from bench.core.compute.rng import SampleRng
from bench.core.contracts.metric import View
from bench.core.contracts.plugin import Plugin
from bench.core.schemas.protocol import Aim, Component, Knowledge, ThreatModel

HeatmapLoss = Callable[..., Tensor]
"""Maps (N, H, W) heatmaps and per-sample targets to (N,) losses, which an attack increases."""

PredictionLoss = Callable[..., Tensor]
"""Maps (N, K) logits and per-sample targets to (N,) losses."""

AttributionLoss = Callable[..., Tensor]
"""Maps (N, C, H, W) images, one (N, C, H, W) attribution per explained class, and targets to (N,) losses."""


class Cost(NamedTuple):
    """The cost of an attack on one image."""

    forward: int
    """Forward passes."""
    gradient: int
    """Gradients of a logit with respect to an image; a Hessian-vector product counts as a gradient, too."""


class Victim(ABC):
    """The attacked network as an adversary may use it.

    It is bound to one batch of samples, and counts every query.
    """

    @abstractmethod
    def logits(self, images: Tensor) -> Tensor:
        """(N, K) logits of the real network."""

    @abstractmethod
    def observe(self, images: Tensor, labels: Tensor) -> View:
        """Return logits, attributions and heatmaps of the real network."""

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
        """(N, C, H, W): the surrogate's gradient of `loss(heatmap, *targets)`.

        `targets` are tensors whose first axis is the batch; an image's loss sees its own slice of them. `sharpness` is
        a factor on the protocol's sharpness of the surrogate. Only every `turns`-th node of the heatmap is used,
        beginning with number `turn`.
        """

    @abstractmethod
    def attribution_gradient(
        self, images: Tensor, classes: Sequence[Tensor], loss: AttributionLoss, *targets: Tensor
    ) -> Tensor:
        """(N, C, H, W): the surrogate's gradient of `loss(images, *attributions, *targets)`.

        `classes` are (N,) labels, one tensor for each signed attribution that the loss takes.
        """

    @abstractmethod
    def prediction_gradient(self, images: Tensor, loss: PredictionLoss, *targets: Tensor) -> Tensor:
        """(N, C, H, W): the real network's gradient of `loss(logits, *targets)`."""

    @abstractmethod
    def donors(self, count: int) -> Tensor:
        """(count, C, H, W): clean images of the same data set.

        They are the same for every sample: it is assumed that an adversary has some images.
        """

    @abstractmethod
    def partners(self) -> Tensor:
        """(N, C, H, W): for each sample another image of the protocol.

        They are clean. The seed pairs all images of the protocol: no image is its own partner, and each is the partner
        of one. So a sample's partner depends neither on its batch nor on how many images are attacked.
        """

    @abstractmethod
    def stand_in(self) -> tuple[Victim, Attack]:
        """Return the source network of `crafted_on`, and its attack.

        Queries to the source network are not counted as queries to this victim.
        """

    @abstractmethod
    def similarity(self, before: View, after: View) -> Tensor:
        """(N,): the primary metric, signed so that lower is more damage.

        +inf where a prediction changed that must be kept, or where the metric is undefined.
        """

    @abstractmethod
    def only(self, samples: Tensor) -> Victim:
        """Return the victim of some samples of the batch, (n,) int64.

        Its queries count for these samples only.
        """

    @property
    @abstractmethod
    def cost(self) -> Cost:
        """Return the cost so far of the most expensive image."""


class CraftedOn(NamedTuple):
    """The reference of a source network, and the attack on it."""

    model: str
    attack: Component


class Attack(Plugin, ABC):
    """A search for perturbed images.

    It need not project, judge or count: the evaluation does all this itself and does not trust the attack.
    """

    version: ClassVar[int] = 1
    older: ClassVar[tuple[type[Attack], ...]] = ()
    """Earlier versions that published protocols still run, newest first."""
    knowledge: ClassVar[Knowledge]
    source: ClassVar[str]
    aim: ClassVar[Aim] = "explanation"
    """What the attack changes; an attack on the prediction makes sense only where the class may change."""
    one_by_one: ClassVar[bool] = False
    """Whether it gets one image at a time, because a library's stopping rule would couple the images of a batch."""

    @property
    def search_attribution(self) -> Component | None:
        """Return the attribution to search with, or None for the protocol's."""
        return None

    @property
    def crafted_on(self) -> CraftedOn | None:
        """Return the source network and attack that `victim.stand_in` returns.

        The benchmark fetches and verifies the network before anything runs.
        """
        return None

    series: ClassVar[bool] = False
    """Whether its members are levels of one change: then each level is judged, and the mean counts, not the worst."""

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of a suite's searches or a series' levels.

        Each member makes its own proposal. A plain attack has one member, whose name is empty.
        """
        return ("",)

    @abstractmethod
    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(N, C, H, W): the proposals, where the logits `labels` are explained."""

    def propose(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        """(M, N, C, H, W): one proposal per member.

        For each metric, the judge takes the worst of a suite and the mean of a series.
        """
        return torch.stack([self.perturb(victim, images, labels, threat=threat, rng=rng)])
