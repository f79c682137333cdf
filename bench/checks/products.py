"""Times second derivatives, and the same by plain double backward."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from bench.core.compute.chunks import cpu_batch, logit_gradients
from bench.run.setup import Setup
from model_zoo.derivatives.differenced import Differenced
from model_zoo.derivatives.surrogate import Followed, shared_copy


def product_seconds(
    setup: Setup, images: Tensor, beta: float, seconds: Callable[[Callable[[], object]], float]
) -> tuple[float, float]:
    """Return the time of a Hessian-vector product, ours and plain.

    Times are per node, in batches of a CPU's fixed size. Plain is double backward by torch through the network's own
    layers, with kinks rounded where its code calls them and attention by matrix products.

    Args:
        setup: the network and its surrogate.
        images: (N, C, H, W), of which the first is used.
        beta: sharpness of softplus.
        seconds: returns the time of a piece of work.
    Returns:
        Seconds per node; NaN twice if the network has no surrogate.
    """
    if isinstance(setup.smooth, Differenced):
        return float("nan"), float("nan")
    count = cpu_batch(images)
    nodes = images[:1].expand(count, -1, -1, -1).to(setup.device)
    plain = Followed(shared_copy(setup.model), beta).eval()
    ours, theirs = (seconds(partial(_product, network, nodes)) for network in (setup.smooth, plain))
    return ours / count, theirs / count


def _product(network: nn.Module, images: Tensor) -> Tensor | None:
    """Return the first logit's Hessian times ones, (M, C, H, W)."""
    leaf = images.clone().requires_grad_()
    labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    with torch.enable_grad():
        slopes = logit_gradients(network, leaf, labels, create_graph=True)
    if not slopes.requires_grad:
        return None
    return torch.autograd.grad(slopes, leaf, torch.ones_like(slopes), allow_unused=True)[0]
