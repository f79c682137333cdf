"""Grad-CAM for networks of tokens."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.attributions._maps import MapMethod, grid_of, is_normalisation, outputs_of
from bench.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TokenGradCam(MapMethod):
    """The last normalised tokens, weighted by their mean gradients.

    A = ReLU(sum over k of a_k F_k) with a_k = mean over patches of dz_y/dF_k. F are the patch tokens, put in a grid
    without the class token, after the last normalisation at which the logit still depends on them: with a class token
    that is the one before the last attention. Enlarged bilinearly.

    Source:
        Selvaraju et al. 2017; on tokens as in Gildenblat et al. 2021 (pytorch-grad-cam), whose users name the layer.
        Differs: the layer is found by its gradient.
    """

    version: ClassVar[int] = 1
    needs_attention: ClassVar[bool] = True

    layer: str = ""
    """Name of the module whose output is F, such as blocks.11.norm1; empty: found."""

    def small_map(self, model: nn.Module, images: Tensor, labels: Tensor, *, create_graph: bool) -> Tensor:
        """(N, 1, h, w) non-negative map."""
        logits, outputs = outputs_of(model, images, self._is_wanted)
        explained = logits.gather(1, labels.unsqueeze(1)).sum()
        for features in reversed(outputs):
            if not isinstance(features, Tensor) or (shape := _grid(features, images)) is None:
                continue
            (slopes,) = torch.autograd.grad(
                explained, features, create_graph=create_graph, retain_graph=True, allow_unused=True
            )
            if slopes is None or not bool(slopes.flatten(1, -2)[:, shape[0] :].any()):
                continue
            tokens, weights = (_laid_out(each, shape) for each in (features, slopes))
            return (weights.mean((2, 3), keepdim=True) * tokens).sum(1, keepdim=True).relu()
        raise UsageError(
            "expected a network of patch tokens with a normalisation after which the logit depends on them, got none; "
            "take grad-cam, or name the layer"
        )

    def _is_wanted(self, name: str, module: nn.Module) -> bool:
        if self.layer:
            return f".{name}".endswith(f".{self.layer}")
        return is_normalisation(module)


def _grid(features: Tensor, images: Tensor) -> tuple[int, int, int] | None:
    """Return first tokens, rows and columns of a layer, or None."""
    if len(features) != len(images):
        return None
    if features.dim() == 3:
        return grid_of(features.shape[1], images)
    square = features.dim() == 4 and features.shape[1] * images.shape[3] == features.shape[2] * images.shape[2]
    return (0, features.shape[1], features.shape[2]) if square and features.shape[1] > 1 else None


def _laid_out(tokens: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(N, D, h, w) from tokens."""
    before, rows, columns = shape
    patches = tokens.flatten(1, -2)[:, before:]
    return patches.reshape(len(tokens), rows, columns, -1).permute(0, 3, 1, 2)
