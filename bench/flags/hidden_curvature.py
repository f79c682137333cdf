"""The network's gradient changes in ways that its surrogate does not foretell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bench.core.schemas.flags import Evidence, Look, RunFlag

if TYPE_CHECKING:
    from torch import Tensor

FORETOLD = 0.4
"""Least median share: of honest networks none was seen below 0.6; one that hides all its kinks is at 0."""


class HiddenCurvature(RunFlag):
    """Takes the median of how much of the gradient's change the surrogate's Hessian foretells.

    It asks no operator by name: along directions as long as the ball allows, random ones and ones against the explained
    logit, it compares two gradients of the network with Hessian-vector products of the surrogate.
    """

    raised_if = (
        f"across the ball, the surrogate's second derivative foretells less than {FORETOLD:.0%} of the change of the "
        "network's gradient, for half of the images"
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
        if run.rows["gradient_vanished"].isna().all() or not len(known) or np.median(known) >= FORETOLD:
            return None
        return f"{np.median(known):.0%} of the change of the gradient, in the median"
