"""Answers of networks on images of two categories: shape, texture, or neither."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from bench.core.contracts import AnnotationKind, Cues, Metric, Pair
from bench.core.schemas.protocol import Direction

from ._places import annotations_of


class CueMetric(Metric):
    """A metric of the answers to images of two categories.

    It looks at the image before a change.
    """

    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "neutral"
    reads_maps: ClassVar[bool] = False
    needs: ClassVar[tuple[AnnotationKind, ...]] = ("cues",)

    @property
    def looks_at_clean_alone(self) -> bool:
        """Return True."""
        return True


def answers(metric: Metric, pair: Pair) -> Tensor:
    """(N,) float64: 1 for shape, 0 for texture, -1 for neither.

    The answer is the category with the largest mean probability over its classes. NaN where the sample has no cues, or
    a logit is NaN.

    Raises:
        BenchError: if the pair has no annotations.
    """
    logits = pair.before.logits.detach().cpu().double()
    rows = [_answer(row, place.cues) for row, place in zip(logits, annotations_of(metric, pair), strict=True)]
    return torch.tensor(rows, dtype=torch.float64, device=pair.before.logits.device)


def _answer(logits: Tensor, cues: Cues | None) -> float:
    if cues is None or bool(logits.isnan().any()):
        return float("nan")
    return {cues.shape: 1.0, cues.texture: 0.0}.get(decision(logits, cues.groups), -1.0)


def decision(logits: Tensor, groups: Tensor) -> int:
    """Return the category with the largest mean probability.

    Args:
        logits: (K,).
        groups: (K,) int64. The category of each output, -1 for none.
    """
    inside = groups >= 0
    probabilities, numbers = logits.softmax(0)[inside], groups[inside]
    count = int(numbers.max()) + 1
    sums = probabilities.new_zeros(count).index_add_(0, numbers, probabilities)
    return int((sums / numbers.bincount(minlength=count).clamp(min=1)).argmax())
