"""More steps than the protocol's make the attack stronger."""

from __future__ import annotations

from bench.core.schemas.flags import LESS
from bench.flags._curves import Stronger


class StepsMatter(Stronger):
    """Looks at the curve over the number of steps."""

    knob = "steps"
    raised_if = f"more steps than the protocol's leave the map less robust, {LESS}"
    means = "the protocol's search ends before it has found what there is: the score is too good"
    remedy = "report the run with more steps"
