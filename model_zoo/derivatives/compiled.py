"""Compiled gradients of a smooth copy's logits.

Everything between convolutions is one pass over memory. PyTorch's compiler differentiates once, and attacks on
explanations twice. So the first derivative is written out as a graph of its own, operator by operator, and compiled as
if it were a network's forward pass; what the compiler derives from that is the second derivative, of the same four
forward passes per node as by double backward. (A dual network, which carries value and tangent, would be of first order
too, but needs the tangent before it begins: six passes.)
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from bench.core.compute.machine import is_shortened
from bench.core.storage.folders import cache_folder
from model_zoo.derivatives.second_order import by_forward_kernels
from model_zoo.derivatives.surrogate import StandIn, sharpened

Form = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From (M, C, H, W) images, (M,) labels and a factor on the sharpness, (), to (M, C, H, W) gradients."""

AGREES, AGREES_SHORTENED = 1e-2, 0.3
"""Largest relative differences of compiled derivatives from the plain ones. In TF32 and bfloat16 rounding alone gives
0.12."""


class Compiled(nn.Module):
    """A frozen smooth copy of a network with compiled gradients.

    The gradients of logits are compiled at first use. Compiling takes about a minute, and is kept in the cache folder.
    Other bits than the copy's own, within rounding. Where it fails, or its derivatives are not the plain ones, a
    warning says so and the plain ones serve.

    Args:
        smooth: what `model_zoo.derivatives.surrogate.smooth_copy` made, in eval mode; its parameters must not change
            any more.
    """

    def __init__(self, smooth: nn.Module) -> None:
        super().__init__()
        self.smooth = smooth
        self._forms: dict[tuple[object, ...], Form | None] = {}
        activations = [module for module in smooth.modules() if isinstance(module, StandIn)]
        self._first = activations[0] if activations else None
        self._beta = activations[0].beta if activations else 1.0

    def forward(self, images: Tensor) -> Tensor:
        """(M, C, H, W) to (M, K) logits, not compiled."""
        logits: Tensor = self.smooth(images)
        return logits

    def logit_gradients(self, images: Tensor, labels: Tensor) -> Tensor:
        """(M, C, H, W) gradients of the logits `labels`, (M,) int64.

        They can be differentiated once more.
        """
        on_cpu, kind = images.device.type == "cpu", images.device.type
        short = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else not on_cpu and is_shortened()
        key = (images.shape[int(not on_cpu) :], images.dtype, images.device, short)
        if key not in self._forms:
            self._forms[key] = self._made(_laid_out(images.detach()), labels, bool(short), sizes_vary=not on_cpu)
        if (form := self._forms[key]) is None:
            return _gradients(self.smooth, images, labels)
        return form(_laid_out(images), labels, self._factor(images))

    def _factor(self, like: Tensor) -> Tensor:
        """Return the factor, (), that a block of `sharpened` has set."""
        return like.new_tensor(1.0 if self._first is None else self._first.beta / self._beta)

    def _made(self, images: Tensor, labels: Tensor, shortened: bool, *, sizes_vary: bool) -> Form | None:
        """Return the compiled form for such images, or None.

        None where compilation fails, or its result cannot be trusted.
        """
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
        factor = self._factor(images)
        try:
            form = _compile(self._written_out(images, labels, factor, sizes_vary), sizes_vary)
            found = _twice(lambda leaf: form(leaf, labels, factor), images)
            plain = _twice(lambda leaf: _gradients(self.smooth, leaf, labels), images)
            allowed = AGREES_SHORTENED if shortened else AGREES
            for mine, theirs in zip(found, plain, strict=True):
                if not (mine - theirs).norm() <= allowed * theirs.norm():
                    raise ArithmeticError("its derivatives differ from the network's")
        except Exception as error:  # the compiler, the tracer and the network may raise anything
            first = str(error).strip().partition("\n")[0]
            warnings.warn(f"this network is not compiled, so that searches take longer: {first}", stacklevel=2)
            return None
        return form

    def _written_out(self, images: Tensor, labels: Tensor, factor: Tensor, sizes_vary: bool) -> nn.Module:
        """Return the computation of the gradients as a graph of operators."""
        from torch.fx.experimental.proxy_tensor import make_fx

        now = float(factor)

        def gradients(images: Tensor, labels: Tensor, factor: Tensor) -> Tensor:
            with sharpened(self.smooth, factor / now):
                return _gradients(self.smooth, images, labels)

        mode: Literal["symbolic", "real"] = "symbolic" if sizes_vary else "real"
        with by_forward_kernels():
            leaf = images.clone().requires_grad_()
            graph: nn.Module = make_fx(gradients, tracing_mode=mode, _allow_non_fake_inputs=True)(leaf, labels, factor)
        return graph


def _laid_out(images: Tensor) -> Tensor:
    """Return images with channels last.

    Another layout would need another compilation.
    """
    return images.contiguous(memory_format=torch.channels_last)


def _compile(graph: nn.Module, sizes_vary: bool) -> Form:
    compiled: Form = torch.compile(graph, dynamic=sizes_vary)
    return compiled


def _gradients(smooth: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = images if images.requires_grad else images.detach().requires_grad_()
        explained = smooth(leaf).gather(1, labels.unsqueeze(1)).sum()
        (gradients,) = torch.autograd.grad(explained, leaf, create_graph=True)
    return gradients


def _twice(gradients: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, Tensor]:
    """Return gradients at images, and Hessians times these gradients."""
    leaf = images.clone().requires_grad_()
    first = gradients(leaf)
    if not first.requires_grad:
        return first, torch.zeros_like(first)
    (second,) = torch.autograd.grad(first, leaf, first.detach(), materialize_grads=True, allow_unused=True)
    return first.detach(), second
