"""Only some of the protocol's samples were run."""

from __future__ import annotations

from bench.core.schemas.flags import Evidence, RunFlag


class Partial(RunFlag):
    """Compares the number of samples with the protocol's."""

    raised_if = "fewer samples were run than the protocol holds"
    means = "the interval is wider, and the run is not ranked"
    remedy = "run again without --limit, finished samples are kept; submitted images never rank"

    def find(self, run: Evidence) -> str | None:
        """Return how many samples were run, if not all."""
        samples = run.spec.samples
        return f"{samples.count} of {samples.of} samples" if samples.count < samples.of else None
