"""Finds the attention matrices of any transformer while it computes.

Attention is softmax of scores, times values. A mode sees torch's functions whatever the module is called: attention in
one function, softmax written out, and `nn.MultiheadAttention`.
"""

from __future__ import annotations

import math
from types import FunctionType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from bench.attributions._maps import grid_of, is_normalisation, outputs_of
from bench.core.errors import UsageError


class Attentions(TorchFunctionMode):
    """A mode that keeps the matrices of self-attention over all tokens.

    They are part of the graph: the logits can be differentiated with respect to them.

    Args:
        count: N, the number of images that pass.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.found: list[Tensor] = []
        """(N, heads, L, L) of each layer, in the order of the forward pass."""
        self.windows = False
        """Whether attention in windows was met, whose matrices belong to no whole image."""
        ours = {"has_torch_function": lambda _: False, "softmax": self._softmax, ATTENTION: self._attention}
        whole = F.multi_head_attention_forward
        # Torch's own code with the two functions above in it; a module would not show its matrices otherwise.
        self._multihead = FunctionType(
            whole.__code__, {**vars(F), **ours}, whole.__name__, whole.__defaults__, whole.__closure__
        )

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one call, and keep the matrix that it makes."""
        named = kwargs or {}
        if func is F.multi_head_attention_forward:
            return self._multihead(*args, **named)
        name = getattr(func, "__name__", "")
        if name == ATTENTION:
            return self._attention(*args, **named)
        result = func(*args, **named)
        return self._kept(result) if name == "softmax" else result

    def _softmax(self, *args: Any, **named: Any) -> Tensor:
        """Return (N heads, L, L) of `nn.MultiheadAttention`, after keeping it."""
        matrix = F.softmax(*args, **named)
        return self._kept(matrix.view(self.count, -1, *matrix.shape[1:])).view_as(matrix)

    def _attention(  # noqa: PLR0917 - as torch's
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Compute attention by matrix products."""
        if dropout_p or is_causal or enable_gqa:
            raise UsageError("expected plain attention, got causal or grouped attention or dropout; choose another map")
        scores = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
        if attn_mask is not None:
            scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype is torch.bool else scores + attn_mask
        return self._kept(scores.softmax(-1)) @ value

    def _kept(self, matrix: Tensor) -> Tensor:
        """Return a matrix, after keeping it if it is one of self-attention."""
        if matrix.dim() >= 3 and matrix.shape[-1] == matrix.shape[-2] > 1:
            if len(matrix) == self.count and matrix.dim() == 4:
                self.found.append(matrix)
            else:
                self.windows = True
        return matrix


ATTENTION = "scaled_dot_product_attention"


def attentions(model: nn.Module, images: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Return logits, (N, K), and the attention of each layer.

    A layer has one matrix per image and head, (N, heads, L, L).

    Args:
        model: the network.
        images: (N, C, H, W), which require gradients, so that no fast path hides the matrices.
    Raises:
        UsageError: if no layer has attention over all tokens, or some have windows.
    """
    with Attentions(len(images)) as mode:
        logits, normalised = outputs_of(model, images, lambda _, module: is_normalisation(module))
    sizes = {matrix.shape[-1] for matrix in mode.found}
    tokens = {each.shape[1] for each in normalised if isinstance(each, Tensor) and each.dim() == 3}
    if len(sizes) != 1 or mode.windows or not sizes <= tokens:  # a matrix of channels is square, too
        came = "none" if not (mode.found or mode.windows) else "attention in windows, of channels or of several sizes"
        raise UsageError(
            f"expected a transformer whose layers attend to all tokens, such as a ViT, got {came}; take grad-cam, "
            "layer-cam or a method of the gradient family"
        )
    return logits, mode.found


def map_of(rollout: Tensor, images: Tensor) -> Tensor:
    """(N, 1, h, w) map from relevance, (N, L, L).

    Relevance is that of tokens for tokens. The row is that of the first token if tokens stand in front of the patches,
    otherwise the mean over all rows.
    """
    grid = grid_of(rollout.shape[-1], images)
    if grid is None:
        raise UsageError(
            f"expected patches in a grid, got {rollout.shape[-1]} tokens of images of {tuple(images.shape[2:])} pixels"
        )
    before, rows, columns = grid
    row = rollout[:, 0] if before else rollout.mean(1)
    return row[:, before:].reshape(-1, 1, rows, columns)
