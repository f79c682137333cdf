"""The surrogate does not predict how the network's gradient changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bench.core.schemas.flags import FORETOLD, Evidence, Look, RunFlag

if TYPE_CHECKING:
    from torch import Tensor


class HiddenCurvature(RunFlag):
    """Compares the network's change of gradient with the surrogate's Hessian.

    It does not look for operators by name. Along random directions and directions against the explained logit, all as
    long as the ball allows, it compares two gradients of the network with Hessian-vector products of the surrogate.
    """

    raised_if = (
        f"across the ball, the surrogate's second derivative foretells less than {FORETOLD:.0%} of the change of the "
        "network's gradient, for half of the images"
    )
    means = (
        "the network hides where it bends, or bends too sharply for a surrogate: attacks took differences of its "
        "gradient instead, which may find less, so the run does not rank"
    )
    remedy = "use activations that attacks can follow, and audit the model with the black-box control (`bench audit`)"
    columns = ("curvature_foretold",)

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """(N,): the share of the change that the surrogate predicts.

        NaN where the gradient does not change, or the surrogate is not used.
        """
        found, unknown = look.curvature, look.logits.new_full((len(look.logits),), float("nan"))
        return {"curvature_foretold": unknown if found is None else found}

    def find(self, run: Evidence) -> str | None:
        """Return the median share, if it is too small.

        An attack that asks for no gradients does not use the surrogate, and does not raise the flag.
        """
        shares = run.rows["curvature_foretold"].to_numpy(np.float64)
        known = shares[np.isfinite(shares)]
        if run.rows["gradient_vanished"].isna().all() or not len(known) or np.median(known) >= FORETOLD:
            return None
        if not known.any():  # the judge writes 0 where attacks took differences
            return "no surrogate foretells enough of the change of the gradient"
        return f"{np.median(known):.0%} of the change of the gradient, in the median"
