"""Attention rollout, which multiplies the attention of all layers."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._attention import attentions, map_of
from bench.attributions._maps import MapMethod


@dataclass(frozen=True, kw_only=True)
class AttentionRollout(MapMethod):
    """How much of each patch reaches the class token through attention.

    R = product over layers l of (mean over heads of A_l + I) / 2, and the map is the class token's row of R over the
    patches, enlarged bilinearly. Without a class token it is the mean of all rows. Its derivative is of first order.

    Source:
        Abnar, Zuidema 2020.
        Differs: nothing. It does not depend on the explained class. Refused for attention in windows and for networks
        without attention.
    """

    version: ClassVar[int] = 1
    class_specific: ClassVar[bool] = False
    needs_attention: ClassVar[bool] = True
    unfit_to_rank: ClassVar[str] = "it does not depend on the explained class"

    def small_map(self, model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:  # noqa: ARG002
        """(N, 1, h, w) non-negative map, the same for all labels."""
        _, layers = attentions(model, images)
        identity = torch.eye(layers[0].shape[-1]).to(layers[0])
        rollout = identity.expand(len(images), -1, -1)
        for layer in layers:
            rollout = (layer.mean(1) + identity) / 2 @ rollout
        return map_of(rollout, images)
