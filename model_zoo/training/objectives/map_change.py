"""A loss on how far the attribution moves, without alignment."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.linalg import vector_norm

from bench.core.compute.rng import Rng
from bench.core.contracts import Student
from model_zoo.derivatives.second_order import only_input_gradients
from model_zoo.training.adversary import linf_start
from model_zoo.training.input_gradients import input_gradients, true_logit
from model_zoo.training.objectives.art import Art


@dataclass(frozen=True, kw_only=True)
class MapChange(Art):
    """Cross-entropy plus the largest change of the gradient map.

    CE(z(x'), y) + weight * ||g(x') - g(x)|| / ||g(x)||. g is the gradient of the true class's logit with respect to the
    normalised image; x' is found by signed ascent on the same distance.

    Source:
        Singh et al. 2020, equation 2 and Table 5.
        Differs: the paper leaves open map and norm; here they are the gradient and the Euclidean length, in units of
        the clean map's. The search is over the `top_k` largest gradient coordinates, as ART's. See
        `Art` for the rest.
    """

    version: ClassVar[int] = 1

    def attribution_loss(self, smooth: nn.Module, both: Tensor, labels: Tensor) -> Tensor:
        """Return the (N,) relative changes of the gradient maps.

        (2N, C, H, W) clean, then found images; their (2N,) labels.
        """
        normalize, network = smooth.children()
        maps = input_gradients(network, normalize(both).detach(), labels, true_logit, create_graph=True)
        return _change(*maps.chunk(2))

    def search(self, student: Student, images: Tensor, labels: Tensor, rng: Rng) -> Tensor:
        """(N, C, H, W): images in the ball whose maps moved far."""
        normalize, network = student.smooth(self.beta).children()
        low, high = (images - float(self.epsilon)).clamp(min=0), (images + float(self.epsilon)).clamp(max=1)
        clean = input_gradients(network, normalize(images).detach(), labels, true_logit).detach()
        found = (images + linf_start(images, float(self.epsilon), rng.fork("start"))).clamp(low, high)
        mask = self.largest(student, found, labels)
        for _ in range(self.steps):
            leaf = found.detach().requires_grad_()
            maps = input_gradients(network, normalize(leaf), labels, true_logit, create_graph=True)
            with only_input_gradients():
                (ascent,) = torch.autograd.grad(_change(clean * mask, maps * mask).sum(), leaf)
            found = (leaf.detach() + float(self.step_size) * ascent.sign()).clamp(low, high)
        return found


def _change(clean: Tensor, moved: Tensor) -> Tensor:
    """Return the (N,) lengths of the change relative to the clean map."""
    unit = vector_norm(clean.flatten(1), dim=1).clamp(min=torch.finfo(clean.dtype).tiny)
    change: Tensor = vector_norm((moved - clean).flatten(1), dim=1) / unit
    return change
