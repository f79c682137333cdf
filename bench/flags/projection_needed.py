"""The attack left the ball or the pixel range."""

from __future__ import annotations

from bench.core.schemas.flags import Evidence, RunFlag, share


class ProjectionNeeded(RunFlag):
    """Counts the proposals that the judge moved back into the ball."""

    raised_if = "the attack proposed images outside the ball or the pixel range, and the judge moved them back"
    means = "what was judged is not what the attack searched"
    remedy = "let the attack project its iterates"

    def find(self, run: Evidence) -> str | None:
        """Return the share of moved proposals, if any."""
        return share(run.rows["projected"].to_numpy(bool), 0, "of the proposals")
