"""The contract of soundness flags, and what they may look at.

Needs no torch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Knowledge
from bench.core.schemas.records import Flag
from bench.core.schemas.spec import RunSpec

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

INFEASIBLE_SHARE = 0.05
UNDEFINED_SHARE = 0.01
MATERIAL = 0.02
"""Difference of two means of a primary metric that raises a flag: 1 % of the range of Kendall's tau, from -1 to 1.

It is twice the allowed difference of a second run's mean (`bench.checks.second_run.MEAN_TOLERANCE`).
"""

FORETOLD = 0.4
"""Smallest allowed share, in the median, of the change of a network's gradient that its surrogate foretells.

No honest network of the registry had less than 0.6, and one that hides all its kinks has 0. An honest ResNet-18 that
was trained on 60 drawings of 224 pixels had 0.3.
"""

LESS = f"image by image, by more than {MATERIAL:g} in the mean and with a 95 % interval above zero"

Knob = Literal["epsilon", "steps", "restarts", "beta"]
"""The setting that a curve of an audit varies."""


class Look(Protocol):
    """The judge's view of N clean images.

    Each part is computed when a flag first asks for it.
    """

    @property
    def images(self) -> Tensor:
        """(N, C, H, W): the images, in [0, 1]."""

    @property
    def logits(self) -> Tensor:
        """(N, K): the logits."""

    @property
    def left_out(self) -> str | None:
        """Return the squashing operation that the network leaves out, if any."""

    @property
    def logits_again(self) -> Tensor:
        """(N, K): the logits of a second pass with the same images."""

    @property
    def heatmap(self) -> Tensor | None:
        """(N, H, W): the heatmaps, or None if no metric reads maps."""

    @property
    def heatmaps_again(self) -> tuple[Tensor, Tensor] | None:
        """Return two heatmaps of the same images.

        They are made at the method's first node. None if no metric reads maps.
        """

    @property
    def smooth_logits(self) -> Tensor | None:
        """(N, K): the surrogate's logits, or None if no metric reads maps."""

    @property
    def searched(self) -> tuple[Tensor, Tensor] | None:
        """Return the search's heatmaps of the network and of its surrogate.

        None if the search has no gradient.
        """

    @property
    def curvature(self) -> Tensor | None:
        """(N,): how much of the network's gradient change the surrogate foretells.

        None if no metric reads maps.
        """

    def ask(self, images: Tensor) -> Tensor:
        """(N, K): the answers to other images.

        The images may leave the pixel range, and the answers need not be finite.
        """


class Evidence(NamedTuple):
    """The results of a finished run that flags look at."""

    spec: RunSpec
    rows: pd.DataFrame
    floor: pd.DataFrame | None
    """Rows of the floor attack on the same samples; None if there are none, or this is the floor attack."""
    knowledge: Knowledge
    """What the attack may know."""
    entry: ModelEntry | None = None
    """The entry of the model."""

    @property
    def primary(self) -> npt.NDArray[np.float64]:
        """(N,): the primary metric, image by image."""
        return self.rows[self.spec.primary_metric].to_numpy(np.float64)


class SoundnessFlag(ABC):
    """A reason to doubt a score.

    Each flag is one file of `bench/flags`; no other file needs to name it.
    """

    raised_if: ClassVar[str]
    means: ClassVar[str]
    remedy: ClassVar[str]
    ranks: ClassVar[bool] = True
    """Whether a run that raises the flag may have a rank."""


class RunFlag(SoundnessFlag):
    """A flag from the rows of a run and of its floor."""

    columns: ClassVar[tuple[str, ...]] = ()
    """Columns that `measure` adds. Older rows lack them; the flag is not raised for these."""

    later_columns: ClassVar[tuple[str, ...]] = ()
    """Columns that `measure` adds since a later version; `find` must also work without them."""

    def measure(self, look: Look) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Return the flag's columns for N clean images, each of shape (N,)."""
        return {}

    @abstractmethod
    def find(self, run: Evidence) -> str | None:
        """Return the reason in words if the flag is raised, else None."""


class Finding(NamedTuple):
    """A flag from a comparison of runs, with its attack."""

    attack: str
    flag: Flag


class Gain(Protocol):
    """The robustness that one run loses against another.

    Both runs are compared image by image.
    """

    @property
    def mean(self) -> float:
        """Return the mean difference."""

    @property
    def high(self) -> float:
        """Return the upper end of the 95 % interval."""

    @property
    def holds(self) -> bool:
        """Return whether the gain is significant and above `MATERIAL`."""


class Point(Protocol):
    """One run of an audit."""

    @property
    def value(self) -> float:
        """Return the value of the knob."""

    @property
    def mean(self) -> float:
        """Return the mean of the primary metric."""

    @property
    def robustness(self) -> float:
        """Return the mean, signed so that higher is more robust."""

    @property
    def on_protocol(self) -> bool:
        """Return whether the knob has the protocol's value."""

    @property
    def spec(self) -> RunSpec:
        """Return the spec of the run."""

    @property
    def knowledge(self) -> Knowledge | None:
        """Return what the attack may know."""

    def gain(self, stronger: Any) -> Gain:
        """Return by how much another point's run leaves the map less robust."""


class Curve(Protocol):
    """Robustness as a function of one knob."""

    @property
    def knob(self) -> Knob:
        """Return the knob that is varied."""

    @property
    def attack(self) -> str:
        """Return the name of the attack."""

    @property
    def metric(self) -> str:
        """Return the name of the primary metric."""

    @property
    def samples(self) -> int:
        """Return the number of images per run."""

    @property
    def counting(self) -> Sequence[Point]:
        """Return the points that tell something about the attack, by rising value."""

    @property
    def own(self) -> Point:
        """Return the run with the protocol's own value."""


class Audit(NamedTuple):
    """The runs of one model under one protocol."""

    curves: Sequence[Curve]
    comparable: Sequence[Sequence[Point]]
    """Groups of runs that differ only in the attack; runs that tell nothing about it are left out."""


class AuditFlag(SoundnessFlag):
    """A flag that needs more than one run."""

    knob: ClassVar[Knob | None] = None
    """The knob whose curve raises the flag; None if it does not depend on a curve."""

    @abstractmethod
    def find(self, audit: Audit) -> Iterator[tuple[str, str]]:
        """Yield each attack that raises the flag, and the reason in words."""


def share(raised: npt.NDArray[np.bool_], allowed: float, of_what: str) -> str | None:
    """Return a share in words if it is too large, else None."""
    found = float(raised.mean())
    return f"{found:.1%} {of_what}" if found > allowed else None
