"""Losses of input gradients with exact parameter gradients.

They need bounded memory only, like the pullback of attacks. With G_t = grad_x s(x_t) at M points and a loss l(G), the
cotangents c_t = dl/dG_t give dl/dtheta = sum_t d<G_t, c_t>/dtheta, so that points can pass through the network in
chunks without a common graph.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_zoo.derivatives.second_order import only_input_gradients

CHUNK = 512
"""Points that pass through a network at once, in training."""

Score = Callable[[Tensor, Tensor], Tensor]
"""(M, K) logits and (M,) labels to the (M,) numbers whose input gradients count."""


def true_logit(logits: Tensor, labels: Tensor) -> Tensor:
    """(M,) logits of the labels."""
    return logits.gather(1, labels.unsqueeze(1)).squeeze(1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """(M,) cross-entropies."""
    return F.cross_entropy(logits, labels, reduction="none")


def single(logits: Tensor) -> Tensor:
    """Return the logits of a fast pass in single precision.

    Other logits stay as they are.
    """
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def input_gradients(
    model: nn.Module, points: Tensor, labels: Tensor, score: Score, *, create_graph: bool = False
) -> Tensor:
    """(M, C, H, W): the gradients of the points' scores.

    If asked, with a graph back to the points and the weights.
    """
    points = points if points.requires_grad else points.detach().requires_grad_()
    explained = score(single(model(points)), labels).sum()
    with only_input_gradients():
        (gradients,) = torch.autograd.grad(explained, points, create_graph=create_graph)
    return gradients


def loss_of_input_gradients(
    model: nn.Module,
    points: Tensor,
    labels: Tensor,
    score: Score,
    loss: Callable[[Tensor], Tensor],
    *,
    chunk: int = CHUNK,
) -> Tensor:
    """Return loss(G) of input gradients G, ready for `backward`.

    G are the gradients of the score at `points`.

    Args:
        model: (M, C, H, W) to (M, K) logits; in eval mode, so that a point's gradient is its own.
        points: (M, C, H, W). Constants: nothing flows back to them.
        labels: (M,) int64.
        score: the number whose input gradients count.
        loss: (M, C, H, W) gradients to a scalar.
        chunk: how many points pass through the network at once; more points cost one more gradient each.
    Returns:
        Scalar whose gradient with respect to the parameters of `model` is exact.
    """
    if len(points) <= chunk:
        return loss(input_gradients(model, points.detach(), labels, score, create_graph=True))
    slices = [slice(first, first + chunk) for first in range(0, len(points), chunk)]
    gradients = torch.cat([input_gradients(model, points[s].detach(), labels[s], score) for s in slices])
    value = loss(gradients.requires_grad_())
    (cotangents,) = torch.autograd.grad(value, gradients)
    parameters = [p for p in model.parameters() if p.requires_grad]
    totals = [torch.zeros_like(p) for p in parameters]
    for s in slices:
        part = input_gradients(model, points[s].detach(), labels[s], score, create_graph=True)
        terms = torch.autograd.grad(part, parameters, cotangents[s], allow_unused=True)
        totals = [total if term is None else total + term for total, term in zip(totals, terms, strict=True)]
    return _with_gradient(value.detach(), parameters, totals)


def _with_gradient(value: Tensor, parameters: list[nn.Parameter], gradients: list[Tensor]) -> Tensor:
    """Return `value` with the given gradient of the parameters."""
    linear = torch.stack([(p * g).sum() for p, g in zip(parameters, gradients, strict=True)]).sum()
    return value + (linear - linear.detach())
