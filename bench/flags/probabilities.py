"""The network answers with bounded or normalised numbers, where logits are expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from bench.core.schemas.flags import Evidence, Look, RunFlag

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-4
"""By which a sum, a bound or a length may be missed, relative to it."""

FAR = (1e6, -3e5)
"""How many times further from grey an image is taken: logits grow with it, bounded answers end at their bound."""

SQUASHED_SHARE = 0.5

KINDS = {
    1: "a number between 0 and 1, as a sigmoid gives it",
    2: "a log-probability",
    3: "a number between -1 and 1, as tanh gives it",
    4: "a vector of one length",
    5: "bounded: however large the image, the largest answer is the same",
}
"""What the answers to an image are, by the number in the column; 0 for logits."""


class Probabilities(RunFlag):
    """Looks at the answers to each clean image, and to the same image at contrasts far beyond the pixel range."""

    raised_if = (
        "every answer of the model is non-negative and sums to 1; or answers are bounded or normalised, as after a "
        "sigmoid, a log-softmax, tanh or a division by their length, also where images are far out of range"
    )
    means = (
        "a softmax or another squashing function saturates, and its gradients, which are the explanations, vanish with "
        "the confidence: no score of it compares with those of logits"
    )
    remedy = "hand in the logits before the softmax, sigmoid or tanh"
    ranks = False
    columns = ("probabilities",)
    later_columns = ("answers",)

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """(N,) bool: whether each answer is a distribution; (N,) int64: the key of `KINDS`."""
        far = [look.ask(0.5 + times * (look.images - 0.5)) for times in FAR]
        return {"probabilities": are_probabilities(look.logits), "answers": kinds(look.logits, far)}

    def find(self, run: Evidence) -> str | None:
        """Say what the answers are."""
        if run.rows["probabilities"].all():
            return "every answer sums to 1"
        if "answers" not in run.rows:
            return None
        found = run.rows["answers"].to_numpy(np.int64)
        most = int(np.bincount(found).argmax())
        share = float((found == most).mean())
        return f"{KINDS[most]}, for {share:.1%} of the samples" if most in KINDS and share > SQUASHED_SHARE else None


def are_probabilities(logits: Tensor) -> Tensor:
    """(N,) bool: whether each row of (N, K) numbers is a distribution over the classes, as logits hardly ever are."""
    return (logits >= 0).all(1) & ((logits.sum(1) - 1).abs() <= ROUNDING)


def kinds(logits: Tensor, far: list[Tensor]) -> Tensor:
    """(N,) int64: which of `KINDS` (N, K) answers are, those to the far images included; 0 for logits.

    A bound alone proves nothing of small logits: they are asked whether they grow with the image.
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
    """(N,) bool: whether the (T, N) values of each column are the same up to rounding."""
    spread: Tensor = values.amax(0) - values.amin(0)
    return spread <= ROUNDING * values.abs().amax(0).clamp(min=ROUNDING)
