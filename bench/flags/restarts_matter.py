"""More random starts than the protocol's make the attack stronger."""

from __future__ import annotations

from bench.core.schemas.flags import LESS
from bench.flags._curves import Stronger


class RestartsMatter(Stronger):
    """Looks at the curve over the number of random starts."""

    knob = "restarts"
    raised_if = (
        f"more random starts leave the map less robust, {LESS}; the first start is the same, so that the difference is "
        "what luck with it is worth: of three normal ones, 0.85 of their standard deviation"
    )
    means = "results of single random starts vary much: the score depends on luck and is too good"
    remedy = "report the run with more restarts"
