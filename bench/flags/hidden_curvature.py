"""The network's gradient changes in ways that its surrogate does not foretell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bench.core.schemas.flags import Evidence, Look, RunFlag

if TYPE_CHECKING:
    from torch import Tensor

FORETOLD = 0.5
"""Least share on average: networks that hide nothing have 0.7 to 1.2, one that hides all its kinks has 0."""


class HiddenCurvature(RunFlag):
    """Averages how much of the change of the network's gradient the surrogate's Hessian foretells.

    It asks no operator by name: along directions as long as the ball allows, one random and one against the explained
    logit, it compares two gradients of the network with Hessian-vector products of the surrogate.
    """

    raised_if = (
        f"across the ball, the surrogate's second derivative foretells less than {FORETOLD:.0%} of the change of the "
        "network's gradient"
    )
    means = "the network bends where attacks cannot see it: its score says nothing about robustness"
    remedy = "use activations that attacks can follow, and audit the model with the black-box control (`bench audit`)"
    columns = ("curvature_foretold",)

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """(N,) the share; NaN where the gradient does not change, or no surrogate is asked."""
        found, unknown = look.curvature, look.logits.new_full((len(look.logits),), float("nan"))
        return {"curvature_foretold": unknown if found is None else found}

    def find(self, run: Evidence) -> str | None:
        """Say how much is foretold; not where the attack asked for no gradient and never met the surrogate."""
        shares = run.rows["curvature_foretold"].to_numpy(np.float64)
        known = shares[np.isfinite(shares)]
        if run.rows["gradient_vanished"].isna().all() or not len(known) or known.mean() >= FORETOLD:
            return None
        return f"{known.mean():.0%} of the change of the gradient"
