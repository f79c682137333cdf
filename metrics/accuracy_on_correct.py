"""Whether a changed image, correctly classified before, is classified correctly."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Metric, Pair
from bench.core.schemas.protocol import Direction

from ._undefined import nan_where_nan


@dataclass(frozen=True, kw_only=True)
class AccuracyOnCorrect(Metric):
    """Correctness after the change, among images that were correct before.

    1 where the changed image is classified correctly, else 0; undefined where the unchanged image is misclassified. Its
    mean is the pooled ratio of images right before and after to images right before. The denominator is the model's
    own.

    Source:
        Zhang, Zhu 2019, section 4.2. Reference code: PKUAI26/AT-CNN.
        Differs: pooled, where the code averages the ratios of batches, which weighs small batches as much as large ones
        and divides by zero in one without a correct image.
    """

    version: ClassVar[int] = 1
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is: ClassVar[Direction] = "more-robust"
    reads_maps: ClassVar[bool] = False

    def __call__(self, pair: Pair) -> Tensor:
        """Return (N,) float64 values, 0 or 1.

        NaN where the unchanged image is misclassified, or a logit is NaN.
        """
        right = [view.logits.argmax(1) == pair.labels for view in (pair.before, pair.after)]
        values = nan_where_nan(right[1], pair.before.logits, pair.after.logits)
        return torch.where(right[0], values, torch.nan)
