"""The primary metric has no value for some samples."""

from __future__ import annotations

import numpy as np

from bench.core.schemas.flags import UNDEFINED_SHARE, Evidence, RunFlag, share


class UndefinedMetric(RunFlag):
    """Counts the samples without a value of the primary metric."""

    raised_if = (
        f"the primary metric is undefined for more than {UNDEFINED_SHARE:.0%} of the samples (constant heatmaps)"
    )
    means = "a constant map cannot be ranked; the mean is over the other samples"
    remedy = "look at the model's heatmaps"

    def find(self, run: Evidence) -> str | None:
        """Return the share of undefined samples, if it is too large."""
        return share(np.isnan(run.primary), UNDEFINED_SHARE, f"of the samples do not define {run.spec.primary_metric}")
