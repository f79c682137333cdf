"""A queue of trainings: the schema of one queue TOML."""

from __future__ import annotations

from pydantic import Field

from bench.core.schemas.duration import Duration
from bench.core.schemas.protocol import Name
from bench.core.schemas.strict import Strict


class Turn(Strict):
    """One training of a queue."""

    recipe: Name
    budget: Duration | None = Field(default=None, description="such as 90s or 9m; without it the recipe's epochs")


class Queue(Strict):
    """Trainings, the most important first."""

    trainings: tuple[Turn, ...] = Field(min_length=1)
