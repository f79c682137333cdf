"""The search of `auto` at ten times the budget.

It bounds how far the standard budget falls short.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from bench.core.contracts import Attack

from .auto import Auto


@dataclass(frozen=True, kw_only=True)
class AutoLong(Auto):
    """The attack `auto` with a budget of 2,000.

    A run on a few images per network bounds what `auto` misses.

    Source:
        As `auto`.
        Differs: the budget.
    """

    version: ClassVar[int] = 3
    older: ClassVar[tuple[type[Attack], ...]] = ()

    budget: int = Field(default=2000, ge=20)
    """Evaluations of the map per image: 1 for a look at the real network, 2 for a gradient through the surrogate."""
