"""The network returns bounded or normalised numbers in place of logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bench.core.schemas.flags import Evidence, Look, RunFlag

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-4
"""Allowed relative error of a sum, a bound or a length."""

FAR = (1e6, -3e5)
"""Factors on an image's distance from grey: logits grow with the factor, bounded answers stop at their bound."""

SQUASHED_SHARE = 0.5

KINDS = {
    1: "a number between 0 and 1, as a sigmoid gives it",
    2: "a log-probability",
    3: "a number between -1 and 1, as tanh gives it",
    4: "a vector of one length",
    5: "bounded: however large the image, the largest answer is the same",
}
"""The kinds of answers by their number in the column; 0 stands for logits."""

LEFT_OUT = {"sigmoid": 11, "softmax": 12, "log_softmax": 13, "tanh": 14}
"""The number where answers end in an operation that is known, and the numbers before it are judged in their place."""


class Probabilities(RunFlag):
    """Looks at the answers to clean images and to extreme contrasts.

    The contrasts move clean images far beyond the pixel range.
    """

    raised_if = (
        "the model ends in a softmax, a log-softmax, a sigmoid or tanh; or every answer is non-negative and sums to 1; "
        "or answers are bounded or normalised, as after a division by their length, also where images are far out of "
        "range"
    )
    means = (
        "a softmax or another squashing function saturates, and its gradients, which are the explanations, vanish with "
        "the confidence: its scores cannot be compared with scores of logits; where the flag names the operation, the "
        "operation was left out, and the scores are those of the numbers before it"
    )
    remedy = "hand in the logits before the softmax, sigmoid or tanh"
    ranks = False
    columns = ("probabilities",)
    later_columns = ("answers",)

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """Return whether an answer is a distribution, and its kind's number.

        (N,) bool and (N,) int64, a number of `KINDS` or `LEFT_OUT`.
        """
        import torch

        if look.left_out is not None:
            number = torch.full_like(look.logits[:, 0], LEFT_OUT[look.left_out], dtype=torch.int64)
            return {"probabilities": torch.zeros_like(number, dtype=torch.bool), "answers": number}
        far = [look.ask(0.5 + times * (look.images - 0.5)) for times in FAR]
        return {"probabilities": are_probabilities(look.logits), "answers": kinds(look.logits, far)}

    def find(self, run: Evidence) -> str | None:
        """Return what the answers are, if they are not logits."""
        if run.rows["probabilities"].all():
            return "every answer sums to 1"
        if "answers" not in run.rows:
            return None
        found = run.rows["answers"].to_numpy(np.int64)
        most = int(np.bincount(found).argmax())
        for operation, number in LEFT_OUT.items():
            if number == most:
                return f"the network ends in {operation}; the numbers before it were attacked and explained"
        share = float((found == most).mean())
        return f"{KINDS[most]}, for {share:.1%} of the samples" if most in KINDS and share > SQUASHED_SHARE else None


def are_probabilities(logits: Tensor) -> Tensor:
    """(N,) bool: whether a row of (N, K) numbers is a distribution.

    Logits almost never are.
    """
    return (logits >= 0).all(1) & ((logits.sum(1) - 1).abs() <= ROUNDING)


def kinds(logits: Tensor, far: list[Tensor]) -> Tensor:
    """(N,) int64: the number in `KINDS` of the (N, K) answers.

    0 stands for logits. Small logits may lie within a bound by chance; therefore the answers to the far images count,
    too: logits grow with the image.
    """
    import torch

    answers = torch.stack([logits, *far]).double()  # (T, N, K)
    finite = answers.isfinite().all(2).all(0)
    low, high = answers.amin((0, 2)), answers.amax((0, 2))
    tops, lengths = answers[1:].amax(2), answers.norm(dim=2)
    at_bound = (low <= ROUNDING - 1) | (high >= 1 - ROUNDING)
    found = [
        (low >= 0) & (high <= 1),
        answers.logsumexp(2).abs().amax(0) <= 10 * ROUNDING,
        (low >= -1) & (high <= 1) & at_bound,
        _equal(lengths),
        _equal(tops),
    ]
    kind = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    for number, holds in reversed(list(enumerate(found, 1))):
        kind = torch.where(holds & finite, number, kind)
    return kind


def _equal(values: Tensor) -> Tensor:
    """(N,) bool: whether the T values of a column are about equal."""
    spread: Tensor = values.amax(0) - values.amin(0)
    return spread <= ROUNDING * values.abs().amax(0).clamp(min=ROUNDING)
