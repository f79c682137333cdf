"""The pieces of a sweep, and what is said about them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import Field

from bench.core.schemas.protocol import Sha256, Strict
from bench.core.storage.files import canonical_json, sha256_of


class Unit(Strict):
    """Shards of one run that are done together, told so that a worker on any machine can do them."""

    request: dict[str, Any] = Field(description="fields of bench.run.request.Request")
    run_id: Sha256 = Field(description="what the request must mean to the worker too")
    shard: int = Field(ge=0)
    shards: int = Field(default=1, ge=1, description="how many, from that one on")
    images: int = Field(ge=1, description="what is left to do of them")

    @property
    def id(self) -> str:
        """Hash of all that may change a number of it."""
        return sha256_of(canonical_json([self.run_id, self.shard, self.shards]).encode())

    @property
    def name(self) -> str:
        """What people call it."""
        which = f"shard {self.shard}" if self.shards == 1 else f"shards {self.shard} to {self.shard + self.shards - 1}"
        return f"{self.request['model']} under {self.request['attack']}, {which}"


Kind = Literal["alive", "note", "done", "failed", "busy", "lost"]
FINAL: frozenset[Kind] = frozenset({"done", "failed", "busy", "lost"})
"""Kinds of the last report on a unit: done; it cannot be done; nobody here has begun it; its worker disappeared."""


class Report(NamedTuple):
    """What a worker, or whoever minds it, says about a unit."""

    unit: Unit
    kind: Kind
    images: int = 0
    """Finished since the last report."""
    text: str = ""
