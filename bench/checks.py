"""Soundness flags of a run: when each is raised."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bench.core.flags import INFEASIBLE_SHARE, MEANINGS, UNDEFINED_SHARE
from bench.core.records import Flag, RunSpec


def flags(spec: RunSpec, rows: pd.DataFrame, floor: pd.DataFrame | None) -> tuple[Flag, ...]:
    """Return the flags that a finished run raises.

    Args:
        spec: the run.
        rows: its rows.
        floor: rows of the floor attack on the same samples; None if there are none or this is the floor itself.
    """
    primary = rows[spec.primary_metric].to_numpy(np.float64)
    found: list[Flag] = []

    def raise_flag(name: str, detail: str) -> None:
        assert name in MEANINGS
        found.append(Flag(name=name, detail=detail))

    if spec.samples.count < spec.samples.of:
        raise_flag("partial", f"{spec.samples.count} of {spec.samples.of} samples")
    if not spec.on_protocol:
        raise_flag("off-protocol", f"{spec.attack.name} with {spec.attack.params}")
    infeasible = float((~rows["feasible"].to_numpy(bool)).mean())
    if infeasible > INFEASIBLE_SHARE:
        raise_flag("infeasible-share", f"{infeasible:.1%} of the samples")
    undefined = float(np.isnan(primary).mean())
    if undefined > UNDEFINED_SHARE:
        raise_flag("undefined-metric", f"{spec.primary_metric} undefined for {undefined:.1%} of the samples")
    if len(rows) > 1 and undefined < 1 and np.nanmax(primary) == np.nanmin(primary) and (rows["linf"] > 0).any():
        raise_flag("nothing-moved", f"{spec.primary_metric} is {np.nanmax(primary):g} for every sample")
    if floor is not None and (gap := _gap_to_floor(spec.primary_metric, rows, floor)) is not None:
        behind = -gap if spec.primary.higher_is == "less-robust" else gap
        if behind >= 0:
            raise_flag("random-beats-attack", f"mean {spec.primary_metric} differs by {gap:+.3f} from random noise's")
    return tuple(found)


def _gap_to_floor(metric: str, rows: pd.DataFrame, floor: pd.DataFrame) -> float | None:
    """Return the mean paired difference to the floor over the correctly classified samples."""
    both = rows[rows["correct"]].merge(floor, on="sample_id", suffixes=("", "_floor"))
    difference = (both[metric] - both[f"{metric}_floor"]).dropna()
    return float(difference.mean()) if len(difference) else None
