"""Another sharpness of the surrogate makes the attack stronger."""

from __future__ import annotations

from bench.core.schemas.flags import LESS, Curve, Point
from bench.flags._curves import Stronger


class OtherSurrogateStronger(Stronger):
    """Looks at the curve over the surrogate's sharpness."""

    knob = "beta"
    raised_if = f"the attack through a surrogate of another sharpness leaves the map less robust, {LESS}"
    means = "at the protocol's sharpness the model hides its curvature: its score is too good"
    remedy = "report the strongest sharpness"

    def others(self, curve: Curve) -> list[Point]:
        """Return the points at smaller and at larger values."""
        return list(curve.counting)
