"""IG-Norm: a loss with small integrated gradients around clean images."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Student
from model_zoo.training.adversary import Gain
from model_zoo.training.objectives._integrated_gradients import IgObjective, norm_for_search


@dataclass(frozen=True, kw_only=True)
class IgNorm(IgObjective):
    """Clean cross-entropy plus the largest norm of integrated gradients.

    CE(z(x), y) + weight * max over x' of the L1 norm of the loss's integrated gradients from x to x'.

    Source:
        Chen et al. 2019, RAR; reference code jfc43/robust-attribution-regularization (values: its GTSRB).
        Differs: means over the batch where the code has sums of both terms (a factor on the learning rate); search and
        norm see the network in eval mode.
    """

    version: ClassVar[int] = 1

    def gain(self, student: Student, images: Tensor, labels: Tensor) -> Gain:
        """Return the norm, from few points."""
        return lambda perturbed: norm_for_search(student.curved, images, perturbed, labels, self.search_nodes)

    def classified(self, images: Tensor, perturbed: Tensor) -> Tensor:  # noqa: ARG002
        """Return the clean images."""
        return images
