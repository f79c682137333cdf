"""The pieces of a sweep, and what is said about them."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import Field

from bench.core.files import canonical_json, sha256_of
from bench.core.protocol import Sha256, Strict


class Unit(Strict):
    """One shard of one run, told so that a worker on any machine can do it."""

    request: dict[str, Any] = Field(description="fields of bench.plan.Request")
    run_id: Sha256 = Field(description="what the request must mean to the worker too")
    shard: int = Field(ge=0)
    images: int = Field(ge=1)

    @property
    def id(self) -> str:
        """Hash of all that may change a number of it."""
        return sha256_of(canonical_json([self.run_id, self.shard]).encode())

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.request['model']} under {self.request['attack']}, shard {self.shard}"


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
