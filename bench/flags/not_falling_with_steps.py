"""More steps leave the map no less robust."""

from __future__ import annotations

from bench.core.schemas.flags import LESS
from bench.flags._curves import NotFalling


class NotFallingWithSteps(NotFalling):
    """Looks at the curve over the number of steps."""

    knob = "steps"
    raised_if = (
        f"over the sweep, more steps leave the map more robust, {LESS}, or most steps surely leave it as robust as "
        "fewest"
    )
    means = "the search does not find its way, so that its result is no worst case"
    remedy = "try another step size or surrogate sharpness"
