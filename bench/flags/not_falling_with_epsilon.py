"""A larger radius leaves the map no less robust."""

from __future__ import annotations

from bench.core.schemas.flags import LESS
from bench.flags._curves import NotFalling


class NotFallingWithEpsilon(NotFalling):
    """Looks at the curve over the radius."""

    knob = "epsilon"
    raised_if = (
        f"over the sweep, a larger radius leaves the map more robust, {LESS}, or the largest surely leaves it as "
        "robust as the smallest"
    )
    means = "a sound attack gains from a larger ball: the gradients are masked, or the map cannot move"
    remedy = "compare with random noise and with a model whose map cannot move (the controls)"
