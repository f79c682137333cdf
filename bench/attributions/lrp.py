"""Layer-wise relevance propagation with the epsilon rule."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._opaque import OpaqueMethod
from bench.core.errors import UsageError

_LINEAR = (nn.Conv2d, nn.Linear, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True)
class Lrp(OpaqueMethod):
    """Relevance of the normalised pixels by the epsilon rule.

    R_i = sum_j a_i w_ij R_j / (z_j + epsilon sign z_j) through convolutions, linear layers and batch norms. It is
    computed as input times gradient, where the gradient shrinks by r = z / (z + epsilon sign z) at the output z of
    every such layer (Montavon et al. 2019). Sums, for example of residual branches, then share relevance in proportion
    to their terms. With epsilon 0 it is the normalised image times the gradient.

    Source:
        Bach et al. 2015 (epsilon rule); Montavon et al. 2019.
        Differs: captum's LRP, equal on a chain of layers, hands a residual sum's relevance to each branch in full, so
        that it doubles with every block; here it is shared. No alpha-beta, gamma or z_B rule.
    """

    version: ClassVar[int] = 1
    substitute: ClassVar[str] = "input-x-gradient"

    epsilon: float = Field(default=0.1, ge=0)
    """Number added to the size of every layer's output before relevance is divided by it."""

    def explain(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W) relevance of the normalised pixels.

        Raises:
            UsageError: if the network does not begin with a layer over all pixels.
        """
        entered: list[Tensor] = []

        def damp(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ARG001
            entered.append(inputs[0])
            size = output.detach().abs()
            if self.epsilon:
                output.register_hook(  # type: ignore[no-untyped-call]
                    lambda gradient: gradient * (size / (size + self.epsilon))
                )

        handles = [m.register_forward_hook(damp) for m in model.modules() if isinstance(m, _LINEAR)]
        try:
            explained = model(images).gather(1, labels.unsqueeze(1)).sum()
        finally:
            for handle in handles:
                handle.remove()
        if not entered or entered[0].numel() != images.numel():
            raise UsageError("expected a network whose first layer takes all pixels, got another; lrp cannot read it")
        (gradient,) = torch.autograd.grad(explained, entered[0])
        return (entered[0] * gradient).view_as(images)
