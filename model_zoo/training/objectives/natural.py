"""Training on clean images."""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Student


@dataclass(frozen=True, kw_only=True)
class Natural(Objective):
    """Cross-entropy on the clean images.

    Source:
        Singh et al. 2020, "Natural". Differs: nothing.
    """

    version: ClassVar[int] = 1

    def loss(self, student: Student, images: Tensor, labels: Tensor, *, rng: Rng) -> Tensor:  # noqa: ARG002
        """Scalar mean cross-entropy of (N, C, H, W) images."""
        with student.fast():
            logits = student.model(images)
        return F.cross_entropy(logits.float(), labels)
