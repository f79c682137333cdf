"""The network answers with probabilities, where logits are expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.core.schemas.flags import Evidence, Look, RunFlag

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-4
"""By which a row of probabilities may miss the sum of 1."""


class Probabilities(RunFlag):
    """Adds up the answers to the clean images."""

    raised_if = "every answer of the model is non-negative and sums to 1: probabilities, not logits"
    means = "a softmax saturates, and its gradients, which are the explanations, vanish with the confidence"
    remedy = "hand in the logits before the softmax"
    columns = ("probabilities",)

    def measure(self, look: Look) -> Mapping[str, Tensor]:
        """(N,) bool: whether each answer is a distribution."""
        return {"probabilities": are_probabilities(look.logits)}

    def find(self, run: Evidence) -> str | None:
        """Say that all answers are distributions."""
        return "every answer sums to 1" if run.rows["probabilities"].all() else None


def are_probabilities(logits: Tensor) -> Tensor:
    """(N,) bool: whether each row of (N, K) numbers is a distribution over the classes, as logits hardly ever are."""
    return (logits >= 0).all(1) & ((logits.sum(1) - 1).abs() <= ROUNDING)
