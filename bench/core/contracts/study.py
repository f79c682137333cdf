"""The contract of studies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import load, save
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts.plugin import Plugin
from bench.core.schemas.study import Card, Key, Point
from bench.core.storage.files import canonical_json, remove_leftovers, sha256_of, write_atomic
from bench.core.storage.lease import lease


@dataclass(frozen=True)
class Workplace:
    """What a piece of a study is given to work with."""

    device: str
    cache: Path
    """Folder for intermediate results that several pieces share; whatever lies there may be deleted."""
    rng: Rng
    """The stream of this piece: its name holds study, version and key."""
    beat: Callable[[], None]
    """Gives a sign of life; a piece calls it at least once a minute."""

    def once(self, what: str, identity: Any, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return what `make` returns, made by the first piece that asks.

        Args:
            what: one word for the kind of result, such as maps.
            identity: JSON values of all that may change the result.
            make: makes tensors by name; its random streams must not hold the piece.
        """
        path = self.cache / f"{what}-{sha256_of(canonical_json(identity).encode())[:16]}.safetensors"
        with lease(path.with_suffix(".lease"), self.beat):
            if not path.exists():
                remove_leftovers(path)
                write_atomic(path, save({name: tensor.contiguous() for name, tensor in make().items()}))
        return load(path.read_bytes())


@dataclass(frozen=True)
class Finding:
    """What one piece measured."""

    points: Sequence[Point]
    numbers: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    """PNG files by name, for a gallery."""
    rows: Sequence[str] = ()
    """What the rows of each picture show, from the top."""


class Study(Plugin, ABC):
    """A question that takes many pieces of work.

    Each piece becomes one record. The fields of the class are its parameters. Pieces do not depend on each other's
    records, so that workers do them in any order; what they share lies in the workplace's cache.
    """

    version: ClassVar[int] = 1
    selects: ClassVar[frozenset[str]] = frozenset()
    """Parameters that only select which pieces there are, such as networks and seeds.

    They are no part of a piece's identity: a piece is not measured again if others join it."""

    @property
    @abstractmethod
    def card(self) -> Card:
        """Return what the study asks, and its figures."""

    @abstractmethod
    def pieces(self) -> list[Key]:
        """Return the keys of all pieces, the most important first."""

    def models(self, piece: Key) -> tuple[str, ...]:  # noqa: ARG002 - many studies train their own networks
        """Return the registered networks that a piece measures.

        Their weights are part of the piece's identity.
        """
        return ()

    @abstractmethod
    def measure(self, piece: Key, workplace: Workplace) -> Finding:
        """Return what one piece measures.

        Raises:
            BenchError: if a network or data set is missing; the error names it.
        """
