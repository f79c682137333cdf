"""The soundness flags of a run: what they need to know of clean images, and which of them it raises."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pandas as pd

from bench import registry
from bench.core.schemas.flags import Evidence, Look, RunFlag
from bench.core.schemas.protocol import Knowledge
from bench.core.schemas.records import Flag, RunSpec

if TYPE_CHECKING:
    from torch import Tensor


@cache
def run_flags() -> dict[str, RunFlag]:
    """Return the flags that a run can raise, by name."""
    found = {name: registry.load("flags", name) for name in registry.names("flags")}
    return {name: flag() for name, flag in found.items() if issubclass(flag, RunFlag)}


def columns() -> tuple[str, ...]:
    """Return the columns that flags add to the rows of a run."""
    return tuple(column for flag in run_flags().values() for column in flag.columns)


def measure(look: Look) -> dict[str, Tensor]:
    """Return the flags' columns, (N,) each, of N clean images."""
    return {name: values for flag in run_flags().values() for name, values in flag.measure(look).items()}


def flags(spec: RunSpec, rows: pd.DataFrame, floor: pd.DataFrame | None, knowledge: Knowledge) -> tuple[Flag, ...]:
    """Return the flags that a finished run raises; a flag whose columns the rows lack says nothing.

    Args:
        spec: the run.
        rows: its rows.
        floor: rows of the floor attack on the same samples; None if there are none or this is the floor itself.
        knowledge: what the attack may know of the network.
    """
    evidence = Evidence(spec, rows, floor, knowledge)
    asked = {name: flag for name, flag in run_flags().items() if set(flag.columns) <= set(rows.columns)}
    found = {name: flag.find(evidence) for name, flag in asked.items()}
    return tuple(Flag(name=name, detail=detail) for name, detail in found.items() if detail is not None)
