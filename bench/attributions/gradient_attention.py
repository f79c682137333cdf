"""Attention weighted by the gradients of the explained logit."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._attention import attentions, map_of
from bench.attributions._maps import MapMethod


@dataclass(frozen=True, kw_only=True)
class GradientAttention(MapMethod):
    """Relevance of each patch for the class token, by gradient-weighted attention.

    R begins as I, and each layer adds mean over heads of ReLU(dz_y/dA * A), times R. The map is the class token's row
    over the patches, enlarged bilinearly; without a class token it is the mean of all rows, less I.

    Source:
        Chefer, Gur, Wolf 2021 (Generic attention-model explainability), the rule for self-attention. Reference code:
        hila-chefer/Transformer-MM-Explainability.
        Differs: nothing. It is "transformer attribution" without relevance propagation. Refused for networks whose
        attention is in windows, or that have none.
    """

    version: ClassVar[int] = 1
    needs_attention: ClassVar[bool] = True

    def small_map(self, model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:
        """(N, 1, h, w) non-negative map."""
        logits, layers = attentions(model, images)
        explained = logits.gather(1, labels.unsqueeze(1)).sum()
        slopes = torch.autograd.grad(
            explained, layers, create_graph=create_graph, materialize_grads=True, allow_unused=True
        )
        identity = torch.eye(layers[0].shape[-1]).to(layers[0])
        relevance = identity.expand(len(images), -1, -1)
        for layer, slope in zip(layers, slopes, strict=True):
            relevance = relevance + (layer * slope).relu().mean(1) @ relevance
        return map_of(relevance - identity, images)
