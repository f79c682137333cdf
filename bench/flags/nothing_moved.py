"""The primary metric is equal for all samples, although pixels changed."""

from __future__ import annotations

import numpy as np

from bench.core.schemas.flags import Evidence, RunFlag


class NothingMoved(RunFlag):
    """Compares the primary metric's values with one another."""

    raised_if = "pixels changed, but every sample has the same value of the primary metric"
    means = (
        "a linear network has the same gradient map for all images, which no attack can move; or the attack had no "
        "gradient to follow: a perfect score of this kind is no robustness"
    )
    remedy = "compare with random noise, and read accuracy and faithfulness beside it"

    def find(self, run: Evidence) -> str | None:
        """Return the value that all samples have, if it is only one."""
        known = run.primary[~np.isnan(run.primary)]
        if len(run.rows) < 2 or not len(known) or known.min() < known.max() or not (run.rows["linf"] > 0).any():
            return None
        if (run.rows["predicted_after"] != run.rows["predicted_before"]).any():
            return None  # classes changed: a metric of predictions may then be the same for every sample
        return f"{run.spec.primary_metric} is {known[0]:g} for every sample"
