"""Attributions that replace the network's backward pass by other rules.

They have values, but no derivatives.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from bench.core.compute.chunks import image_slices
from bench.core.compute.rng import SampleRng
from bench.core.contracts import AttributionMethod, Linearization
from bench.core.errors import BenchError


class OpaqueMethod(AttributionMethod):
    """An attribution method without derivatives."""

    differentiable: ClassVar[bool] = False
    random: ClassVar[bool] = False

    @abstractmethod
    def explain(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """(N, C, H, W) attribution of logit `labels`.

        The images already require gradients.
        """

    def attribute(
        self,
        model: nn.Module,
        images: Tensor,
        labels: Tensor,
        *,
        rng: SampleRng,  # noqa: ARG002
        create_graph: bool = False,
    ) -> Tensor:
        """(N, C, H, W) signed attribution of logit `labels` at `images`.

        Raises:
            BenchError: if `create_graph` is set.
        """
        if create_graph:
            raise self._no_way_back()
        parts = []
        for part in image_slices(len(images), self.nodes_per_image, images.device):
            leaf = images[part].detach().clone().requires_grad_()
            with warnings.catch_warnings():
                # Captum warns of the hooks that it sets and removes.
                warnings.filterwarnings("ignore", message="Setting (forward, )?backward hooks", category=UserWarning)
                parts.append(self.explain(model, leaf, labels[part]).detach())
        return torch.cat(parts)

    def linearize(self, model: nn.Module, images: Tensor, labels: Tensor, *, rng: SampleRng) -> Linearization:  # noqa: ARG002
        """Refuse, because there is no derivative.

        Raises:
            BenchError: always.
        """
        raise self._no_way_back()

    def _no_way_back(self) -> BenchError:
        return BenchError(
            f"expected a differentiable attribution, got {type(self).__name__}, whose backward rules have no "
            "derivative; attack it by transfer from a method of the gradient family, or without gradients"
        )
