"""For many samples the attack found no image of the same class."""

from __future__ import annotations

from bench.core.schemas.flags import INFEASIBLE_SHARE, Evidence, RunFlag, share


class InfeasibleShare(RunFlag):
    """Counts the samples that count as not moved."""

    raised_if = f"for more than {INFEASIBLE_SHARE:.0%} of the samples every iterate changed the class"
    means = "these samples count as not moved, so the model looks more robust than it is"
    remedy = "read the score with the infeasible count beside it"

    def find(self, run: Evidence) -> str | None:
        """Return the share of infeasible samples, if it is too large."""
        return share(~run.rows["feasible"].to_numpy(bool), INFEASIBLE_SHARE, "of the samples")
