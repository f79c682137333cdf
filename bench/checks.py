"""Soundness flags of a run: each says when it is raised, what it means and what to do."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from bench.core.records import Flag, RunSpec

INFEASIBLE_SHARE = 0.05
UNDEFINED_SHARE = 0.01


class Meaning(NamedTuple):
    """The reader's side of a flag."""

    raised_if: str
    means: str
    remedy: str


MEANINGS: dict[str, Meaning] = {
    "partial": Meaning(
        "fewer samples were run than the protocol holds",
        "the interval is wider, and the run is not ranked",
        "run again without --limit; finished samples are kept",
    ),
    "off-protocol": Meaning(
        "the attack or one of its parameters is not the protocol's",
        "the number cannot be compared with the board's",
        "run again without --set",
    ),
    "random-beats-attack": Meaning(
        "the floor attack, which knows nothing, ends lower in the primary metric",
        "the attack failed (masked gradients, perhaps), and the score says nothing about robustness",
        "try another surrogate sharpness, more steps or restarts",
    ),
    "infeasible-share": Meaning(
        f"for more than {INFEASIBLE_SHARE:.0%} of the samples every iterate changed the class",
        "these samples count as not moved, so the model looks more robust than it is",
        "read the score with the infeasible count beside it",
    ),
    "undefined-metric": Meaning(
        f"the primary metric is undefined for more than {UNDEFINED_SHARE:.0%} of the samples (constant heatmaps)",
        "a constant map cannot be ranked; the mean is over the other samples",
        "look at the model's heatmaps",
    ),
    "nothing-moved": Meaning(
        "pixels changed, but every sample has the same value of the primary metric",
        "a constant-gradient model, or an attack without a gradient: perfect robustness of this kind is trivial",
        "compare with random noise, and read accuracy and faithfulness beside it",
    ),
}


def flags(
    spec: RunSpec, rows: pd.DataFrame, floor: pd.DataFrame | None, *, higher_is_robust: bool = True
) -> tuple[Flag, ...]:
    """Return the flags that a finished run raises.

    Args:
        spec: the run.
        rows: its rows.
        floor: rows of the floor attack on the same samples; None if there are none or this is the floor itself.
        higher_is_robust: direction of the primary metric.
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
        behind = gap if higher_is_robust else -gap
        if behind >= 0:
            raise_flag("random-beats-attack", f"mean {spec.primary_metric} differs by {gap:+.3f} from random noise's")
    return tuple(found)


def _gap_to_floor(metric: str, rows: pd.DataFrame, floor: pd.DataFrame) -> float | None:
    """Return the mean paired difference to the floor over the correctly classified samples."""
    both = rows[rows["correct"]].merge(floor, on="sample_id", suffixes=("", "_floor"))
    difference = (both[metric] - both[f"{metric}_floor"]).dropna()
    return float(difference.mean()) if len(difference) else None
