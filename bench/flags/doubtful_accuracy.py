"""The accuracy is far below the claimed one, or near chance."""

from __future__ import annotations

from bench.core.schemas.flags import Evidence, RunFlag

IMPROBABLE = 1e-3
"""A count is doubted if a count this low, or lower, has less than this probability."""

SOUND = 0.5
"""Without a claimed accuracy, a count is compared with chance only if it is surely below this accuracy."""

CAUSES = (
    "likely causes: a wrong mean or std, normalisation both inside the network and outside, images expected in 0..255, "
    "or labels in another order"
)


class DoubtfulAccuracy(RunFlag):
    """Compares the count of correct clean images with the entry's accuracy.

    If the entry has no accuracy, the count is compared with chance.
    """

    raised_if = (
        f"the clean images are classified correctly as rarely as happens in less than {IMPROBABLE:.1%} of draws from "
        "the accuracy that the entry has; or, where it has none, as rarely as by chance"
    )
    means = "the network that was judged is probably not the one that was trained"
    remedy = "look for a wrong or doubled normalisation, images in 0..255 and another order of the labels"

    def find(self, run: Evidence) -> str | None:
        """Return the count, the expected accuracy and likely causes, if doubtful."""
        entry = run.entry
        if entry is None or not str(run.rows["sample_id"].iloc[0]).startswith(f"{entry.dataset}/"):
            return None  # the model was trained on another data set, so that no accuracy is promised here
        said = entry.accuracy or entry.claimed
        return doubt(int(run.rows["correct"].sum()), len(run.rows), entry.num_classes, said.clean if said else None)


def doubt(correct: int, images: int, num_classes: int, claimed: float | None) -> str | None:
    """Return the reason to doubt a count of correct answers, or None.

    The text names likely causes.
    """
    from scipy.special import bdtr, bdtrc  # the binomial distribution; importing scipy.stats takes half a second more

    found = f"{correct} of {images} clean images are correct"
    if claimed is not None:
        odd = bdtr(correct, images, claimed) < IMPROBABLE
        return f"{found}, {claimed:.1%} are claimed; {CAUSES}" if odd else None
    by_chance = bdtrc(correct - 1, images, 1 / num_classes) > IMPROBABLE
    if by_chance and bdtr(correct, images, SOUND) < IMPROBABLE:
        return f"{found}, as by chance among {num_classes} classes; {CAUSES}"
    return None
