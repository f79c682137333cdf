"""What a soundness flag is: its words, the columns that it reads, and the rule that raises it. Needs no torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Knowledge
from bench.core.schemas.records import Flag, RunSpec

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

INFEASIBLE_SHARE = 0.05
UNDEFINED_SHARE = 0.01
MATERIAL = 0.02
"""Difference of two means of a primary metric that is worth a flag: 1 % of the range of Kendall's tau, from -1 to 1.

It is twice what the mean of a second run of the same spec may differ by (`bench.checks.second_run.MEAN_TOLERANCE`).
"""

LESS = f"image by image, by more than {MATERIAL:g} in the mean and with a 95 % interval above zero"

Knob = Literal["epsilon", "steps", "restarts", "beta"]
"""What an audit varies."""


class Look(Protocol):
    """What the judge sees of N clean images; each part is computed when a flag asks for it first."""

    @property
    def images(self) -> Tensor:
        """(N, C, H, W) in [0, 1]."""

    @property
    def logits(self) -> Tensor:
        """(N, K)."""

    @property
    def logits_again(self) -> Tensor:
        """(N, K), of the same images asked a second time."""

    @property
    def heatmap(self) -> Tensor | None:
        """(N, H, W); None where no metric reads maps."""

    @property
    def heatmaps_again(self) -> tuple[Tensor, Tensor] | None:
        """Return two heatmaps of the same images, at the method's first node; None where no metric reads maps."""

    @property
    def smooth_logits(self) -> Tensor | None:
        """Return the surrogate's (N, K) logits; None where no metric reads maps."""

    @property
    def searched(self) -> tuple[Tensor, Tensor] | None:
        """Return the search's heatmaps of the network and of its surrogate; None where it has no gradient."""

    @property
    def curvature(self) -> Tensor | None:
        """Return (N,) how much of its gradient's change the surrogate foretells; None where no metric reads maps."""

    def ask(self, images: Tensor) -> Tensor:
        """(N, K) answers to other images, perhaps out of range; they need not be finite."""


class Evidence(NamedTuple):
    """What a finished run leaves to be judged by."""

    spec: RunSpec
    rows: pd.DataFrame
    floor: pd.DataFrame | None
    """Rows of the floor attack on the same samples; None if there are none or this is the floor itself."""
    knowledge: Knowledge
    """Of the attack."""
    entry: ModelEntry | None = None
    """The model's."""

    @property
    def primary(self) -> npt.NDArray[np.float64]:
        """The primary metric, image by image."""
        return self.rows[self.spec.primary_metric].to_numpy(np.float64)


class SoundnessFlag(ABC):
    """A caveat beside a score: one file of `bench/flags`, which nothing else needs to name."""

    raised_if: ClassVar[str]
    means: ClassVar[str]
    remedy: ClassVar[str]
    ranks: ClassVar[bool] = True
    """Whether a run that raises it may rank."""


class RunFlag(SoundnessFlag):
    """A caveat that the rows of a run, beside those of its floor, can raise."""

    columns: ClassVar[tuple[str, ...]] = ()
    """What `measure` adds to the rows. Rows filed before the flag existed lack them: it says nothing there."""

    later_columns: ClassVar[tuple[str, ...]] = ()
    """What `measure` adds beside them since rows without it were filed; `find` must do without."""

    def measure(self, look: Look) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Return the flag's columns, (N,) each, of N clean images."""
        return {}

    @abstractmethod
    def find(self, run: Evidence) -> str | None:
        """Return what was found, if the flag is to be raised."""


class Finding(NamedTuple):
    """A flag that a comparison of runs raises, and the attack that it concerns."""

    attack: str
    flag: Flag


class Gain(Protocol):
    """By how much one run leaves the map less robust than another, in pairs of images."""

    @property
    def mean(self) -> float:
        """The mean difference."""

    @property
    def high(self) -> float:
        """The upper end of its 95 % interval."""

    @property
    def holds(self) -> bool:
        """Whether the gain is significant and material."""


class Point(Protocol):
    """One run of an audit."""

    @property
    def value(self) -> float:
        """Of the knob."""

    @property
    def mean(self) -> float:
        """Of the primary metric."""

    @property
    def robustness(self) -> float:
        """The mean, with the sign that makes more robust larger."""

    @property
    def on_protocol(self) -> bool:
        """Whether the knob stands where the protocol has it."""

    @property
    def spec(self) -> RunSpec:
        """What was run."""

    @property
    def knowledge(self) -> Knowledge | None:
        """What the attack may know."""

    def gain(self, stronger: Any) -> Gain:
        """Return by how much another point's run leaves the map less robust."""


class Curve(Protocol):
    """Robustness against the value of one knob."""

    @property
    def knob(self) -> Knob:
        """What is varied."""

    @property
    def attack(self) -> str:
        """By name."""

    @property
    def metric(self) -> str:
        """The primary one, by name."""

    @property
    def samples(self) -> int:
        """How many images each run has."""

    @property
    def counting(self) -> Sequence[Point]:
        """The points that say something of the attack, by rising value."""

    @property
    def own(self) -> Point:
        """The protocol's own run."""


class Audit(NamedTuple):
    """The runs of one model under one protocol."""

    curves: Sequence[Curve]
    comparable: Sequence[Sequence[Point]]
    """Groups of runs that differ in the attack alone, those that say something of it."""


class AuditFlag(SoundnessFlag):
    """A caveat that no single run can raise."""

    knob: ClassVar[Knob | None] = None
    """The knob whose curve decides it."""

    @abstractmethod
    def find(self, audit: Audit) -> Iterator[tuple[str, str]]:
        """Yield the attack that the flag is raised for, and what was found."""


def share(raised: npt.NDArray[np.bool_], allowed: float, of_what: str) -> str | None:
    """Say how large a share of the images is, where it is more than allowed."""
    found = float(raised.mean())
    return f"{found:.1%} {of_what}" if found > allowed else None
