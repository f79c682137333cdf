"""Finds the soundness flags of a run, and measures their columns."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from bench import registry
from bench.core.schemas.flags import Evidence, Look, RunFlag
from bench.core.schemas.records import Flag

if TYPE_CHECKING:
    from torch import Tensor


@cache
def run_flags() -> dict[str, RunFlag]:
    """Return the flags that a run can raise, by name."""
    found = {name: registry.load("flags", name) for name in registry.names("flags")}
    return {name: flag() for name, flag in found.items() if issubclass(flag, RunFlag)}


def columns() -> tuple[str, ...]:
    """Return the columns that flags add to the rows of a run."""
    return tuple(column for flag in run_flags().values() for column in (*flag.columns, *flag.later_columns))


def measure(look: Look) -> dict[str, Tensor]:
    """Return the flags' columns for N clean images, each of shape (N,)."""
    return {name: values for flag in run_flags().values() for name, values in flag.measure(look).items()}


def flags(evidence: Evidence) -> tuple[Flag, ...]:
    """Return the flags that a finished run raises.

    A flag is left out if the rows lack its columns.
    """
    present = set(evidence.rows.columns)
    found = {name: flag.find(evidence) for name, flag in run_flags().items() if present.issuperset(flag.columns)}
    return tuple(Flag(name=name, detail=detail) for name, detail in found.items() if detail is not None)
