"""What the soundness flags of a run mean: the words that the command line and the pages share."""

from __future__ import annotations

from typing import NamedTuple

INFEASIBLE_SHARE = 0.05
UNDEFINED_SHARE = 0.01


class Meaning(NamedTuple):
    """The reader's side of a flag."""

    raised_if: str
    means: str
    remedy: str


MEANINGS: dict[str, Meaning] = {
    "partial": Meaning(
        "fewer samples were run than the protocol holds",
        "the interval is wider, and the run is not ranked",
        "run again without --limit; finished samples are kept",
    ),
    "off-protocol": Meaning(
        "the attack or one of its parameters is not the protocol's",
        "the number cannot be compared with the board's",
        "run again without --set",
    ),
    "random-beats-attack": Meaning(
        "the floor attack, which knows nothing, ends lower in the primary metric",
        "the attack failed (masked gradients, perhaps), and the score says nothing about robustness",
        "try another surrogate sharpness, more steps or restarts",
    ),
    "infeasible-share": Meaning(
        f"for more than {INFEASIBLE_SHARE:.0%} of the samples every iterate changed the class",
        "these samples count as not moved, so the model looks more robust than it is",
        "read the score with the infeasible count beside it",
    ),
    "undefined-metric": Meaning(
        f"the primary metric is undefined for more than {UNDEFINED_SHARE:.0%} of the samples (constant heatmaps)",
        "a constant map cannot be ranked; the mean is over the other samples",
        "look at the model's heatmaps",
    ),
    "nothing-moved": Meaning(
        "pixels changed, but every sample has the same value of the primary metric",
        "a constant-gradient model, or an attack without a gradient: perfect robustness of this kind is trivial",
        "compare with random noise, and read accuracy and faithfulness beside it",
    ),
}
