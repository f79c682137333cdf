"""IG-SUM-Norm: adversarial training whose loss's integrated gradients change little around an image."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass
from torch import Tensor

from bench.core.contracts import Student
from model_zoo.training.adversary import Gain, prediction_gain
from model_zoo.training.objectives._integrated_gradients import IgObjective, norm_for_search


@dataclass(frozen=True, kw_only=True)
class IgSumNorm(IgObjective):
    """Worst cross-entropy plus norm of integrated gradients.

    max over x' of CE(z(x'), y) + weight * the L1 norm of the loss's integrated gradients from x to x'.

    Source:
        Chen et al. 2019, RAR; reference code jfc43/robust-attribution-regularization (values: its GTSRB).
        Differs: means over the batch where the code has sums of both terms (a factor on the learning rate); search and
        norm see the network in eval mode.
    """

    version: ClassVar[int] = 1

    def gain(self, student: Student, images: Tensor, labels: Tensor) -> Gain:
        """Return the whole loss, its norm from few points."""
        prediction = prediction_gain(student.model, labels, student.fast)

        def gain(perturbed: Tensor) -> Tensor:
            norm = norm_for_search(student.curved, images, perturbed, labels, self.search_nodes)
            return prediction(perturbed) + self.weight * norm

        return gain

    def classified(self, images: Tensor, perturbed: Tensor) -> Tensor:  # noqa: ARG002
        """Return the perturbed images."""
        return perturbed
