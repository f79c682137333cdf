"""The attacked network as attacks see it, with counted queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from bench.core.compute.chunks import forward
from bench.core.compute.heatmap import reduce
from bench.core.compute.rng import SampleRng
from bench.core.contracts import (
    Attack,
    AttributionLoss,
    Cost,
    HeatmapLoss,
    Metric,
    Pair,
    PredictionLoss,
    Victim,
    View,
)
from bench.core.errors import BenchError, blamed_on
from bench.core.schemas.protocol import Knowledge, SearchPrecision, ThreatModel
from bench.run.attack.views import Explainer, predict
from bench.run.samples import NO_IMAGES, Library
from model_zoo.derivatives.differenced import Differenced
from model_zoo.derivatives.surrogate import sharpened

GREY_LEVEL = 1 / 255
VISIBLE = 1e-6
"""Smallest relative change that is visible in a float32 sum over a heatmap."""


@dataclass(frozen=True)
class StandIn:
    """A source network, and the attack that makes images on it."""

    model: nn.Module
    smooth: nn.Module
    explainer: Explainer
    attack: Attack


class Counts(NamedTuple):
    """What N images have cost so far."""

    forward: Tensor
    """(N,) int64: the forward passes."""
    gradient: Tensor
    """(N,) int64: the gradient evaluations."""
    asked: Tensor
    """(N,) int64: how often a search asked for a gradient of the heatmap."""
    vanished: Tensor
    """(N,) float32: how often that gradient could not guide the search."""

    @classmethod
    def of(cls, count: int) -> Self:
        """Return counts of zero."""
        forward, gradient, asked = torch.zeros((3, count), dtype=torch.int64)
        return cls(forward, gradient, asked, torch.zeros(count))


@dataclass
class WhiteBoxVictim(Victim):
    """The attacked network with its surrogate and the primary metric.

    Gradients come from the surrogate; the metric compares iterates. `rng` binds the victim to a batch. It counts
    gradients that cannot guide a search: along these, a float32 loss would not change visibly.
    """

    model: nn.Module
    smooth: nn.Module
    explainer: Explainer
    primary: Metric
    threat: ThreatModel
    knowledge: Knowledge
    rng: SampleRng
    library: Library = NO_IMAGES
    """The clean images from which donors and partners are taken."""
    other: StandIn | None = None
    counts: Counts | None = None
    """Counts of the whole batch, if this victim has only some of its samples."""
    rows: Tensor | None = None
    """(N,) int64: the rows of these samples among the counts."""
    precision: SearchPrecision = "float32"
    """Only bfloat16 has an effect here, on the surrogate's convolutions; the caller sets TF32."""

    def logits(self, images: Tensor) -> Tensor:
        """(N, K): the logits of the real network."""
        self._count(forward=1)
        return predict(self.model, images)

    def observe(self, images: Tensor, labels: Tensor) -> View:
        """Return logits, attributions and heatmaps of the real network."""
        self._count(forward=1, gradient=self.explainer.method.nodes_per_image)
        return self.explainer.view(self.model, images, labels, self.rng)

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

        Raises:
            BenchError: if the attack does not declare white-box knowledge, or the threat model does not allow it.
        """
        self._need_white_box()
        method, parts, vanished = self.explainer.method.turn(turn, turns), [], []
        self._count(gradient=self._price * method.nodes_per_image)
        with sharpened(self.smooth, sharpness), self._arithmetic(images.device):
            for part in method.slices(len(images), images.device):
                with blamed_on(method):
                    linear = method.linearize(self.smooth, images[part], labels[part], rng=self.rng.select(part))
                value, cotangent = self._cotangent(linear.attribution, loss, [target[part] for target in targets])
                with blamed_on(method):
                    parts.append(linear.pullback(cotangent))
                vanished.append(_has_vanished(parts[-1], value))
        self._note(torch.cat(vanished))
        return _direction(torch.cat(parts))

    def attribution_gradient(
        self, images: Tensor, classes: Sequence[Tensor], loss: AttributionLoss, *targets: Tensor
    ) -> Tensor:
        """(N, C, H, W): the surrogate's gradient of `loss(images, *attributions, *targets)`."""
        self._need_white_box()
        method = self.explainer.method
        self._count(gradient=self._price * len(classes) * method.nodes_per_image)
        parts = []
        with self._arithmetic(images.device):
            for part in method.slices(len(images), images.device):
                rng = self.rng.select(part)
                with blamed_on(method):
                    linear = [method.linearize(self.smooth, images[part], labels[part], rng=rng) for labels in classes]
                leaves = [t.detach().requires_grad_() for t in (images[part], *(each.attribution for each in linear))]
                value = loss(*leaves, *(target[part] for target in targets))
                direct, *slopes = torch.autograd.grad(value.sum(), leaves, materialize_grads=True, allow_unused=True)
                with blamed_on(method):
                    pulled = [each.pullback(cotangent) for each, cotangent in zip(linear, slopes, strict=True)]
                parts.append(sum(pulled, start=direct))
        return _direction(torch.cat(parts))

    def prediction_gradient(self, images: Tensor, loss: PredictionLoss, *targets: Tensor) -> Tensor:
        """(N, C, H, W): the real network's gradient of `loss(logits, *targets)`."""
        self._need_white_box()
        self._count(gradient=1)
        leaf = images.detach().requires_grad_()
        with torch.enable_grad():
            value = loss(forward(self.model, leaf), *targets).sum()
        (gradient,) = torch.autograd.grad(value, leaf)
        return _direction(gradient)

    def donors(self, count: int) -> Tensor:
        """(count, C, H, W): images of the protocol, equal for all samples."""
        return self.library.first(count)

    def partners(self) -> Tensor:
        """(N, C, H, W): for each sample another image of the protocol."""
        return self.library.partners(self.rng.sample_ids)

    def stand_in(self) -> tuple[Victim, Attack]:
        """Return the source network of `crafted_on`, and its attack."""
        if self.other is None:
            raise BenchError("expected an attack that says what it is crafted on, got none; declare `crafted_on`")
        threat = self.threat.model_copy(update={"knowledge": "white-box", "max_queries": None})
        victim = WhiteBoxVictim(
            model=self.other.model,
            smooth=self.other.smooth,
            explainer=self.other.explainer,
            primary=self.primary,
            threat=threat,
            knowledge=self.other.attack.knowledge,
            rng=self.rng,
            library=self.library,
            precision=self.precision,
        )
        return victim, self.other.attack

    def similarity(self, before: View, after: View) -> Tensor:
        """(N,): the primary metric, signed so that lower is more damage.

        +inf where an iterate does not count.
        """
        labels = before.logits.argmax(1)
        with blamed_on(self.primary):
            value = self.primary(Pair(before, after, labels))
        value = -value if self.primary.higher_is == "less-robust" else value
        void = torch.isnan(value)
        if self.threat.keep_prediction:
            void = void | (after.logits.argmax(1) != labels)
        return torch.where(void, torch.inf, value)

    def only(self, samples: Tensor) -> Victim:
        """Return the victim of some samples of the batch, (n,) int64.

        Its queries count for these samples only.
        """
        counts, rows = self._own_counts()
        chosen = samples.cpu()
        return replace(self, rng=self.rng.select(chosen.tolist()), counts=counts, rows=rows[chosen])

    @property
    def cost(self) -> Cost:
        """Return the cost so far of the most expensive image."""
        counts, rows = self._own_counts()
        return Cost(int(counts.forward[rows].max()), int(counts.gradient[rows].max()))

    @property
    def spent(self) -> Counts:
        """Return the cost of the N images."""
        counts, rows = self._own_counts()
        return Counts(*(column[rows] for column in counts))

    @property
    def _price(self) -> int:
        """Evaluations of the map in a gradient of a loss on it.

        They are its value, and a second derivative or two ends of a difference.
        """
        return 3 if isinstance(self.smooth, Differenced) else 2

    def _need_white_box(self) -> None:
        if self.knowledge != "white-box":
            raise BenchError(
                f"expected an attack with white-box knowledge to ask for gradients, got one with {self.knowledge!r}; "
                "declare knowledge = 'white-box'"
            )
        if self.threat.knowledge != "white-box":
            raise BenchError(
                f"expected no gradients under a {self.threat.knowledge} threat model, got a white-box attack; "
                "choose another attack or protocol"
            )

    def _arithmetic(self, device: torch.device) -> torch.autocast:
        """Return the context that sets the precision of the surrogate's convolutions."""
        return torch.autocast(device.type, torch.bfloat16, self.precision == "bfloat16" and device.type == "cuda")

    def _cotangent(self, attribution: Tensor, loss: HeatmapLoss, targets: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the losses and their gradients at the attributions.

        (N,) and (N, C, H, W).
        """
        leaf = attribution.detach().requires_grad_()
        value = loss(reduce(leaf, self.explainer.rule), *targets)
        (cotangent,) = torch.autograd.grad(value.sum(), leaf)
        return value.detach(), cotangent

    def _own_counts(self) -> tuple[Counts, Tensor]:
        """Return the counts, and the rows of these samples among them."""
        if self.counts is None or self.rows is None:
            count = len(self.rng.sample_ids)
            self.counts, self.rows = Counts.of(count), torch.arange(count)
        return self.counts, self.rows

    def _count(self, *, forward: int = 0, gradient: int = 0) -> None:
        counts, rows = self._own_counts()
        counts.forward[rows] += forward
        counts.gradient[rows] += gradient
        allowed = self.threat.max_queries
        if allowed is not None and (spent := sum(self.cost)) > allowed:
            raise BenchError(f"expected at most {allowed} queries per image, got {spent}; give the attack fewer steps")

    def _note(self, vanished: Tensor) -> None:
        counts, rows = self._own_counts()
        counts.asked[rows] += 1
        counts.vanished[rows] += vanished.cpu().float()


def _direction(gradient: Tensor) -> Tensor:
    """Return a gradient with 0 in place of NaN.

    A step along it cannot put NaN into the image.
    """
    return torch.where(gradient.isnan(), 0.0, gradient)


def _has_vanished(gradient: Tensor, loss: Tensor) -> Tensor:
    """(N,) bool: whether a gradient is NaN or too small.

    It is too small if a step of one grey level along it would not change a float32 loss.
    """
    rise = gradient.abs().sum(3).sum(2).sum(1) * GREY_LEVEL
    return ~(rise > VISIBLE * loss.abs())
