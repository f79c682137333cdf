"""The units of sweeps and studies, and reports on them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

from pydantic import Field

from bench.core.schemas.protocol import Sha256
from bench.core.schemas.strict import Strict
from bench.core.schemas.study import StudySpec
from bench.core.storage.files import canonical_json, sha256_of


class Unit(Strict, ABC):
    """Work that a worker does without interruption.

    The unit holds all that a worker on any machine needs.
    """

    @property
    @abstractmethod
    def id(self) -> str:
        """Return the hash of all values that may change the unit's numbers."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Return the unit's name for people."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Return how far the unit advances its sweep or study."""


class RunUnit(Unit):
    """Shards of one run that are done together."""

    request: dict[str, Any] = Field(description="fields of bench.run.request.Request")
    run_id: Sha256 = Field(description="the run that the worker must derive from the request")
    shard: int = Field(ge=0)
    shards: int = Field(default=1, ge=1, description="number of shards, beginning with `shard`")
    images: int = Field(ge=1, description="images that are not done yet")

    @property
    def id(self) -> str:
        """Return the hash of run and shards."""
        return sha256_of(canonical_json([self.run_id, self.shard, self.shards]).encode())

    @property
    def name(self) -> str:
        """Return the model, the attack and the shards."""
        which = f"shard {self.shard}" if self.shards == 1 else f"shards {self.shard} to {self.shard + self.shards - 1}"
        return f"{self.request['model']} under {self.request['attack']}, {which}"

    @property
    def size(self) -> int:
        """Return the number of images that are not done yet."""
        return self.images


class PieceUnit(Unit):
    """One piece of a study."""

    params: dict[str, Any] = Field(description="parameters of the study, as they were given")
    spec: StudySpec = Field(description="what the worker must derive from the parameters and the key")

    @property
    def id(self) -> str:
        """Return the hash of the piece's spec."""
        return self.spec.id

    @property
    def name(self) -> str:
        """Return the values of the piece's key."""
        return ", ".join(f"{key} {value}" for key, value in self.spec.piece.items())

    @property
    def size(self) -> int:
        """Return 1, because a study counts pieces."""
        return 1


Kind = Literal["alive", "note", "done", "failed", "busy", "lost"]
FINAL: frozenset[Kind] = frozenset({"done", "failed", "busy", "lost"})
"""Kinds of the last report on a unit: it is done; it failed; it did not begin here; its worker disappeared."""


class Report(NamedTuple):
    """A message about a unit from its worker or its executor."""

    unit: Unit
    kind: Kind
    advanced: int = 0
    """Images finished since the last report."""
    text: str = ""
