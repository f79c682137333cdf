"""The units of a sweep, and reports on them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import Field

from bench.core.schemas.protocol import Sha256
from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json, sha256_of


class Unit(Strict):
    """Shards of one run that are done together.

    The unit holds all that a worker on any machine needs.
    """

    request: dict[str, Any] = Field(description="fields of bench.run.request.Request")
    run_id: Sha256 = Field(description="the run that the worker must derive from the request")
    shard: int = Field(ge=0)
    shards: int = Field(default=1, ge=1, description="number of shards, beginning with `shard`")
    images: int = Field(ge=1, description="images that are not done yet")

    @property
    def id(self) -> str:
        """Return the hash of all values that may change the unit's numbers."""
        return sha256_of(canonical_json([self.run_id, self.shard, self.shards]).encode())

    @property
    def name(self) -> str:
        """Return the unit's name for people."""
        which = f"shard {self.shard}" if self.shards == 1 else f"shards {self.shard} to {self.shard + self.shards - 1}"
        return f"{self.request['model']} under {self.request['attack']}, {which}"


Kind = Literal["alive", "note", "done", "failed", "busy", "lost"]
FINAL: frozenset[Kind] = frozenset({"done", "failed", "busy", "lost"})
"""Kinds of the last report on a unit: it is done; it failed; it did not begin here; its worker disappeared."""


class Report(NamedTuple):
    """A message about a unit from its worker or its executor."""

    unit: Unit
    kind: Kind
    images: int = 0
    """Images finished since the last report."""
    text: str = ""
