"""The attack took most of the predicted class's probability."""

from __future__ import annotations

from bench.core.schemas.flags import Evidence, RunFlag, share

COLLAPSED_SHARE = 0.1


class ConfidenceCollapse(RunFlag):
    """Compares the predicted class's probability before and after."""

    raised_if = (
        f"for more than {COLLAPSED_SHARE:.0%} of the samples the attack took more than half of the predicted class's "
        "probability"
    )
    means = "the class is kept, but barely: part of the damage is a change of the decision and not of its explanation"
    remedy = "read the score with the change of confidence beside it"

    def find(self, run: Evidence) -> str | None:
        """Return the share of such samples, if it is too large."""
        if not run.spec.threat.keep_prediction:
            return None
        collapsed = run.rows["confidence_after"] < run.rows["confidence_before"] / 2
        return share(collapsed.to_numpy(bool), COLLAPSED_SHARE, "of the samples")
