"""An attack with gradients is no stronger than random noise."""

from __future__ import annotations

import numpy as np

from bench.core.schemas.flags import Evidence, RunFlag
from bench.flags.nothing_moved import NothingMoved


class RandomBeatsAttack(RunFlag):
    """Compares the primary metric with the floor's on correct images."""

    raised_if = (
        "the floor attack, which knows nothing, ends as low in the primary metric as an attack with gradients, or "
        "lower; not where nothing moved under either, which has a flag of its own, and not at radius 0"
    )
    means = "the attack failed (masked gradients, perhaps), and the score says nothing about robustness"
    remedy = "try another surrogate sharpness, more steps or restarts"

    def find(self, run: Evidence) -> str | None:
        """Return the difference of the means, if the floor is as strong."""
        threat = run.spec.threat
        # Without a ball the floor draws no images, and at radius 0 nothing may move.
        if run.floor is None or threat.unbounded or threat.epsilon == 0:
            return None
        if run.knowledge != "white-box":  # an attack that asks for no gradients cannot meet masked ones
            return None
        metric = run.spec.primary_metric
        correct, floor = run.rows[run.rows["correct"]], run.floor
        beside = dict(zip(floor["sample_id"], floor[metric], strict=True))
        theirs = np.array([beside.get(sample, np.nan) for sample in correct["sample_id"]], dtype=np.float64)
        gap = float((correct[metric] - theirs).mean())
        behind = -gap if run.spec.primary.higher_is == "less-robust" else gap
        tied_at_rest = behind == 0 and NothingMoved().find(run) is not None
        return f"mean {metric} differs by {gap:+.3f} from random noise's" if behind >= 0 and not tied_at_rest else None
