"""What a plug-in promises. The machine knows plug-ins by these classes only."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as checked
from torch import Tensor, nn

from bench.core.compute.chunks import forward, image_slices
from bench.core.compute.rng import Rng, SampleRng
from bench.core.schemas.protocol import Aim, Component, Direction, Knowledge, ThreatModel
from bench.core.schemas.units import Report, Unit

HeatmapLoss = Callable[..., Tensor]
"""(N, H, W) heatmaps and per-sample targets to (N,) losses that an attack wants to see grow."""

PredictionLoss = Callable[..., Tensor]
"""(N, K) logits and per-sample targets to (N,) losses."""

AttributionLoss = Callable[..., Tensor]
"""(N, C, H, W) images, as many (N, C, H, W) attributions as classes are explained, and targets to (N,) losses."""


class Linearization(NamedTuple):
    """An attribution and the way back from it to the pixels, sharing one forward pass."""

    attribution: Tensor
    pullback: Callable[[Tensor], Tensor]


class AttributionMethod(ABC):
    """Explains logit `labels[i]` of image i.

    `linearize` is the one primitive: the value and its pullback (vector-Jacobian product), as in reverse-mode
    differentiation. The default pulls back by double backward, which is the oracle of every faster one.
    """

    version: ClassVar[int] = 1
    differentiable: ClassVar[bool] = True
    """Whether it can be linearized; if not, it is attacked through its substitute and without gradients only."""
    substitute: ClassVar[str] = "gradient"
    """The differentiable method that attacks with gradients search through where this one is not: theirs is a transfer
    from one method to another, on the attacked network or on the one that they craft on."""
    unfit_to_rank: ClassVar[str] = ""
    """Why no protocol may rank by it; empty where nothing is known against it."""
    exact_pullback: ClassVar[bool] = True
    """Whether the pullback is the derivative; False for one that repeats a published mistake on purpose."""
    random: ClassVar[bool] = True
    """Whether it draws from its `rng`; clean images are explained once for all attacks by one that does not."""

    @property
    def nodes_per_image(self) -> int:
        """How many images pass through the network to explain one."""
        return 1

    def turn(self, number: int, turns: int) -> AttributionMethod:  # noqa: ARG002
        """Return the method on a share of its nodes: in as many turns as said, each node has its turn; here all."""
        return self

    def slices(self, count: int, device: torch.device) -> Iterator[slice]:
        """Yield slices that cover `count` images: which of them pass through the network together."""
        return image_slices(count, self.nodes_per_image, device)

    @abstractmethod
    def attribute(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng, create_graph: bool = False
    ) -> Tensor:
        """(N, C, H, W) signed attribution of logit `labels` at `images`; with a graph if asked."""

    def attribute_with_logits(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng
    ) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) attribution and (N, K) logits; a method that meets the images themselves shares the pass."""
        with torch.no_grad():
            logits = forward(model, images)
        return self.attribute(model, images, labels, rng=rng), logits

    def linearize(self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng) -> Linearization:
        """Return the attribution, and the function from a cotangent (N, C, H, W) to d<A(x), cotangent>/dx."""
        leaf = images.detach().requires_grad_()
        attribution = self.attribute(model, leaf, labels, rng=rng, create_graph=True)

        def pullback(cotangent: Tensor) -> Tensor:
            if not attribution.requires_grad:
                return torch.zeros_like(leaf)
            (gradient,) = torch.autograd.grad(attribution, leaf, cotangent, allow_unused=True)
            return torch.zeros_like(leaf) if gradient is None else gradient

        return Linearization(attribution.detach(), pullback)

    def pullback(
        self, model: nn.Module, images: Tensor, labels: Tensor, cotangent: Tensor, *, rng: SampleRng
    ) -> Tensor:
        """(N, C, H, W): the gradient of <A(x), cotangent> with respect to the pixels."""
        return self.linearize(model, images, labels, rng=rng).pullback(cotangent)

    def completeness_gap(
        self,
        model: nn.Module,  # noqa: ARG002
        images: Tensor,  # noqa: ARG002
        labels: Tensor,  # noqa: ARG002
        attribution: Tensor,  # noqa: ARG002
    ) -> Tensor | None:
        """(N,) |sum of A - (logit(x) - logit(baseline))| where the method promises completeness, else None."""
        return None


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


class Split(NamedTuple):
    """Images as stored: (N, C, H, W) uint8, and their (N,) int64 labels."""

    images: Tensor
    labels: Tensor


class Dataset(ABC):
    """A labelled image set, read from a data folder."""

    version: ClassVar[int] = 1
    classes: ClassVar[tuple[str, ...]]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]
    epsilon: ClassVar[Fraction] = Fraction(8, 255)
    """The L-infinity radius, in pixel units, at which the literature of this set measures robust accuracy."""

    @abstractmethod
    def load(self, split: Literal["train", "test"]) -> Split:
        """All images of a split, in their official order."""

    @abstractmethod
    def is_stored(self) -> bool:
        """Whether the images are on this machine, so that `load` needs no network."""


class ZooModel(NamedTuple):
    """A trained network of another library, and all that an entry says of it but its weights."""

    network: nn.Module
    """Normalised images to (N, K) logits; in eval mode, as the library's own loader made it."""
    build: Callable[..., nn.Module]
    """The same network untrained: `build(num_classes, **architecture.params)`."""
    architecture: Component
    dataset: str
    num_classes: int
    shape: tuple[int, int, int]
    """(C, H, W) of its images."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    method: str
    license: str
    source: str = ""


class Zoo(ABC):
    """A library of trained networks, reached as `<name of the zoo>:<name in it>`."""

    version: ClassVar[int] = 1

    @abstractmethod
    def canonical(self, name: str) -> str:
        """Return the full name of what `name` stands for, so that one network has one name; no download."""

    def dataset(self, canonical: str) -> str | None:  # noqa: ARG002 - a zoo of one data set ignores the name
        """Return the data set that a network classifies, or None where only its download tells."""
        return None

    @abstractmethod
    def fetch(self, name: str, downloads: Path) -> ZooModel:
        """Load the network of a canonical name by the library's own loader, which may unpickle."""


class Student(NamedTuple):
    """A network in training, its copies over the same parameters, and the context of fast passes."""

    model: nn.Module
    curved: nn.Module
    """The same function, for losses of its input gradients."""
    smooth: Callable[[float], nn.Module]
    """From the sharpness of softplus to the smooth copy."""
    searched: nn.Module
    """The same function in eval mode, for gradients of images alone, in fewer passes over memory."""
    fast: Callable[[], AbstractContextManager[object]]


class Objective(ABC):
    """A training's loss."""

    version: ClassVar[int] = 1

    @abstractmethod
    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:
        """Scalar loss of a batch of (N, C, H, W) images in [0, 1], ready for `backward`."""


class Worker(ABC):
    """Does one unit after the other, and keeps what they share."""

    @abstractmethod
    def do(self, unit: Unit, tell: Callable[[Report], None]) -> Report:
        """Do a unit, telling of signs of life, and return the last report on it; an error of the unit is a report."""


Hire = Callable[[str], Worker]
"""From the device to compute on to a worker; travels to the process that shall work, so it must be picklable."""


@checked(frozen=True, kw_only=True)
class Executor(ABC):
    """Who runs the units of a sweep; knows nothing of what a unit is about.

    Whatever happens to a worker, each unit ends with exactly one report of a kind in
    `bench.core.schemas.units.FINAL`. Whether a lost unit is tried again is for the caller to decide.
    """

    version: ClassVar[int] = 1

    workers: int | None = Field(default=None, ge=1, le=10_000)
    """How many work at once; by default what the machine offers."""
    device: str = "auto"
    """What each worker computes on."""
    timeout: float = Field(default=900.0, gt=0, le=10**7, allow_inf_nan=False)
    """Seconds without a sign of life after which a worker counts as hung and is ended."""

    @property
    def neighbours(self) -> int:
        """How many of the workers share the memory of one machine."""
        return self.workers or 1

    @abstractmethod
    def run(self, units: Sequence[Unit], hire: Hire) -> Iterator[Report]:
        """Yield reports as they come; closing the iterator ends all workers."""
