"""Fold batch normalisations for the searches of a training."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from model_zoo.derivatives.fused import Layers
from model_zoo.derivatives.second_order import Normalization


class _AffineRelu(torch.autograd.Function):
    """relu(scale x + shift) of x, with constant scale and shift (C,)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        # Torch's kernel for normalisation in eval mode is the fastest affine map over channels.
        zero, one = torch.zeros_like(scale), torch.ones_like(scale)
        activated = F.batch_norm(x, zero, one, scale, shift, eps=0.0).relu_()
        ctx.save_for_backward(activated, scale)
        return activated

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        activated, scale = ctx.saved_tensors
        # Scales of a whole row of pixels: over the channels of one pixel alone, the inner loop would be too short.
        row = scale.to(gradient.dtype).view(1, -1, 1, 1).expand(1, -1, 1, gradient.shape[3])
        row = row.contiguous(memory_format=torch.channels_last)
        masked: Tensor = torch.ops.aten.threshold_backward(gradient, activated, 0)
        return masked.mul_(row), None, None


class AffineRelu(nn.Module):
    """Eval-mode batch normalisation and ReLU as one function, over the normalisation's parameters."""

    def __init__(self, normalization: nn.BatchNorm2d) -> None:
        super().__init__()
        self.normalization = Normalization(normalization)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        scale, shift = (t.detach().flatten() for t in self.normalization.affine())
        activated: Tensor = _AffineRelu.apply(x, scale, shift)  # type: ignore[no-untyped-call]
        return activated


class FoldedConvolution(nn.Module):
    """A convolution that includes the eval-mode batch normalisation behind it.

    It uses the parameters of both layers.
    """

    def __init__(self, convolution: nn.Conv2d, normalization: nn.BatchNorm2d) -> None:
        super().__init__()
        self.convolution, self.normalization = convolution, Normalization(normalization)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H', W')."""
        layer = self.convolution
        scale, shift = (t.detach() for t in self.normalization.affine())
        weight, bias = layer.weight.detach() * scale.view(-1, 1, 1, 1), shift.flatten()
        if layer.bias is not None:
            bias = bias + layer.bias.detach() * scale.flatten()
        return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def folded(model: nn.Module) -> nn.Module:
    """Return `model` in eval mode with folded normalisations.

    It serves gradients with respect to images, shares the parameters and follows them as they are trained. Its bits
    differ from the model's within rounding. It shares unfolded layers too, so use it in a block of `evaluating`. A
    network that cannot be traced is returned as it is.
    """
    try:
        graph = Layers().trace(model)
    except Exception:  # whatever a stranger's network raises at a value that is not there
        return model
    module = fx.GraphModule(model, graph)
    for index, node in enumerate(list(graph.nodes)):
        layer, source = _layer(module, node), node.args[0] if node.args else None
        if type(layer) is not nn.BatchNorm2d or layer.running_var is None:
            continue
        assert isinstance(source, fx.Node)
        before, users = _layer(module, source), list(node.users)
        if type(before) is nn.Conv2d and before.padding_mode == "zeros" and len(source.users) == 1:
            _merge(module, f"folded_{index}", FoldedConvolution(before, layer), source, node)
        elif len(users) == 1 and type(_layer(module, users[0])) is nn.ReLU:
            _merge(module, f"folded_{index}", AffineRelu(layer), node, users[0])
    module.delete_all_unused_submodules()
    module.recompile()
    return module


def _layer(module: nn.Module, node: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(node.target)) if node.op == "call_module" else None


def _merge(module: fx.GraphModule, name: str, layer: nn.Module, first: fx.Node, second: fx.Node) -> None:
    """Put one layer in the place of two consecutive ones."""
    module.add_submodule(name, layer)
    second.target, second.args = name, first.args
    module.graph.erase_node(first)
