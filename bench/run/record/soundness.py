"""Soundness flags of a run: when each is raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench.core.schemas.flags import (
    COLLAPSED_SHARE,
    DISAGREEING_SHARE,
    INFEASIBLE_SHARE,
    MAP_CONTRAST,
    SURROGATE_CORRELATION,
    TIED_SHARE,
    UNDEFINED_SHARE,
    VANISHED_SHARE,
)
from bench.core.schemas.protocol import Knowledge
from bench.core.schemas.records import Flag, RunSpec


class Evidence(NamedTuple):
    """What a finished run leaves to be judged by."""

    spec: RunSpec
    rows: pd.DataFrame
    floor: pd.DataFrame | None
    """Rows of the floor attack on the same samples; None if there are none or this is the floor itself."""
    knowledge: Knowledge
    """Of the attack."""

    @property
    def primary(self) -> npt.NDArray[np.float64]:
        """The primary metric, image by image."""
        return self.rows[self.spec.primary_metric].to_numpy(np.float64)


Check = Callable[[Evidence], str | None]
"""Returns what it found, if the flag is to be raised."""


def flags(spec: RunSpec, rows: pd.DataFrame, floor: pd.DataFrame | None, knowledge: Knowledge) -> tuple[Flag, ...]:
    """Return the flags that a finished run raises; `bench.core.schemas.flags.MEANINGS` says what they mean.

    Args:
        spec: the run.
        rows: its rows.
        floor: rows of the floor attack on the same samples; None if there are none or this is the floor itself.
        knowledge: what the attack may know of the network.
    """
    evidence = Evidence(spec, rows, floor, knowledge)
    found = {name: check(evidence) for name, check in CHECKS.items()}
    return tuple(Flag(name=name, detail=detail) for name, detail in found.items() if detail is not None)


def _partial(run: Evidence) -> str | None:
    samples = run.spec.samples
    return f"{samples.count} of {samples.of} samples" if samples.count < samples.of else None


def _off_protocol(run: Evidence) -> str | None:
    spec = run.spec
    words = f"{spec.attack.name} with {spec.attack.params}, {spec.threat.norm} {spec.threat.epsilon}"
    words += f", softplus beta {spec.surrogate.beta:g}"
    words += "" if spec.surrogate.precision == "float32" else f", search in {spec.surrogate.precision}"
    return None if spec.on_protocol else words


def _random_beats_attack(run: Evidence) -> str | None:
    if run.floor is None or run.spec.threat.unbounded:  # without a ball, the floor draws nothing
        return None
    if run.knowledge != "white-box":  # gradients that it never asked for cannot be masked
        return None
    metric = run.spec.primary_metric
    both = run.rows[run.rows["correct"]].merge(run.floor, on="sample_id", suffixes=("", "_floor"))
    gap = float((both[metric] - both[f"{metric}_floor"]).mean())
    behind = -gap if run.spec.primary.higher_is == "less-robust" else gap
    tied_at_rest = behind == 0 and _nothing_moved(run) is not None
    return f"mean {metric} differs by {gap:+.3f} from random noise's" if behind >= 0 and not tied_at_rest else None


def _infeasible_share(run: Evidence) -> str | None:
    return _share(~run.rows["feasible"].to_numpy(bool), INFEASIBLE_SHARE, "of the samples")


def _undefined_metric(run: Evidence) -> str | None:
    return _share(np.isnan(run.primary), UNDEFINED_SHARE, f"of the samples do not define {run.spec.primary_metric}")


def _nothing_moved(run: Evidence) -> str | None:
    known = run.primary[~np.isnan(run.primary)]
    if len(run.rows) < 2 or not len(known) or known.min() < known.max() or not (run.rows["linf"] > 0).any():
        return None
    if (run.rows["predicted_after"] != run.rows["predicted_before"]).any():
        return None  # the class moved: a metric of predictions may then be the same for every sample
    return f"{run.spec.primary_metric} is {known[0]:g} for every sample"


def _vanishing_gradient(run: Evidence) -> str | None:
    share = float(run.rows["gradient_vanished"].mean())
    return f"{share:.1%} of the gradients" if share > VANISHED_SHARE else None


def _surrogate_differs(run: Evidence) -> str | None:
    if run.rows["gradient_vanished"].isna().all():  # the attack asked for no gradient, so it never met the surrogate
        return None
    other, alike = (
        float((~run.rows["surrogate_agrees"].to_numpy(bool)).mean()),
        float(run.rows["surrogate_correlation"].mean()),
    )
    if other <= DISAGREEING_SHARE and not alike < SURROGATE_CORRELATION:
        return None
    return f"another class for {other:.1%} of the samples, mean correlation of the heatmaps {alike:.3f}"


def _constant_map(run: Evidence) -> str | None:
    return _share(run.rows["map_contrast"].to_numpy() < MAP_CONTRAST, UNDEFINED_SHARE, "of the samples")


def _tied_map(run: Evidence) -> str | None:
    if "map_tied" not in run.rows:  # filed before anybody looked
        return None
    return _share(run.rows["map_tied"].to_numpy(np.float64) > TIED_SHARE, TIED_SHARE, "of the samples")


def _not_repeatable(run: Evidence) -> str | None:
    return _share(~run.rows["map_repeatable"].to_numpy(bool), 0, "of the samples")


def _confidence_collapse(run: Evidence) -> str | None:
    if not run.spec.threat.keep_prediction:
        return None
    collapsed = run.rows["confidence_after"] < run.rows["confidence_before"] / 2
    return _share(collapsed.to_numpy(bool), COLLAPSED_SHARE, "of the samples")


def _probabilities(run: Evidence) -> str | None:
    return "every answer sums to 1" if run.rows["probabilities"].all() else None


def _projection_needed(run: Evidence) -> str | None:
    return _share(run.rows["projected"].to_numpy(bool), 0, "of the proposals")


def _share(raised: npt.NDArray[np.bool_], allowed: float, of_what: str) -> str | None:
    share = float(raised.mean())
    return f"{share:.1%} {of_what}" if share > allowed else None


CHECKS: dict[str, Check] = {
    "partial": _partial,
    "off-protocol": _off_protocol,
    "random-beats-attack": _random_beats_attack,
    "infeasible-share": _infeasible_share,
    "undefined-metric": _undefined_metric,
    "nothing-moved": _nothing_moved,
    "vanishing-gradient": _vanishing_gradient,
    "surrogate-differs": _surrogate_differs,
    "constant-map": _constant_map,
    "tied-map": _tied_map,
    "not-repeatable": _not_repeatable,
    "confidence-collapse": _confidence_collapse,
    "probabilities": _probabilities,
    "projection-needed": _projection_needed,
}
