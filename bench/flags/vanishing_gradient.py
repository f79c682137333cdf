"""Many of the attack's gradients could not guide it."""

from __future__ import annotations

from bench.core.schemas.flags import Evidence, RunFlag

VANISHED_SHARE = 0.05


class VanishingGradient(RunFlag):
    """Averages the share of gradients that could not guide the search."""

    raised_if = (
        f"more than {VANISHED_SHARE:.0%} of the attack's gradients are zero, not finite, or too small to move its loss"
    )
    means = (
        "the search was blind, so that the score says nothing about robustness; a linear network, whose gradient map "
        "cannot move, always has this flag"
    )
    remedy = "audit the model (`bench audit`): another surrogate sharpness, or the black-box control"

    def find(self, run: Evidence) -> str | None:
        """Return the share of vanished gradients, if it is too large."""
        found = float(run.rows["gradient_vanished"].mean())
        return f"{found:.1%} of the gradients" if found > VANISHED_SHARE else None
