"""The parts of a network that attacks can follow or not.

Each spelling is tried. `python -m tests.support.networks` writes the outcomes to `docs/networks.md`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import spectral_norm as parametrized_spectral_norm

from bench.core.compute.rng import Rng
from bench.core.errors import UsageError
from model_zoo.derivatives.prepare import surrogate
from model_zoo.derivatives.surrogate import smooth_copy
from tests.support import families

PAGE = Path(__file__).parents[2] / "docs/networks.md"
BETA = 50.0
Outcome = str
"""followed, refused, or kept: left as it is, without a second derivative at its kinks."""


class Hand(torch.autograd.Function):
    """ReLU with a handwritten backward pass."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return u.clamp(min=0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (ctx.saved_tensors[0] > 0)


class Detached(torch.autograd.Function):
    """A smooth function whose backward pass ignores that it depends on u."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return F.softplus(u, BETA)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.sigmoid(BETA * ctx.saved_tensors[0].detach())


class Once(Detached):
    """The same function, declared as differentiable only once."""

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.sigmoid(BETA * ctx.saved_tensors[0])


class Whole(torch.autograd.Function):
    """A smooth function whose backward pass can be differentiated."""

    @staticmethod
    def forward(ctx: Any, u: Tensor) -> Tensor:
        ctx.save_for_backward(u)
        return F.softplus(u, BETA)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * torch.sigmoid(BETA * ctx.saved_tensors[0])


@torch.jit.script
def scripted(u: Tensor) -> Tensor:
    """Return ReLU by scripted code, which Python cannot see."""
    return u * (u > 0).to(u.dtype)


def assigned(u: Tensor) -> Tensor:
    """Return ReLU by an assignment with a mask."""
    v = u.clone()
    v[v < 0] = 0
    return v


def masked_apart(u: Tensor) -> Tensor:
    """Return ReLU by a mask made without gradients."""
    with torch.no_grad():
        mask = u > 0
    return u * mask


def zero(u: Tensor) -> Tensor:
    """Return zeros like u."""
    return torch.zeros_like(u)


def hooked() -> nn.Module:
    """Return a pruned convolution."""
    layer = nn.Conv2d(16, 16, 3, padding=1)
    prune.l1_unstructured(layer, "weight", amount=0.5)
    layer.weight = layer.weight.detach()
    return layer


def with_hook() -> nn.Module:
    """Return a convolution whose input a hook halves."""
    layer = nn.Conv2d(16, 16, 3, padding=1)
    layer.register_forward_pre_hook(lambda _, inputs: (inputs[0] / 2,))
    return layer


@torch.no_grad()
def still(u: Tensor) -> Tensor:
    """Return ReLU without gradients."""
    return F.relu(u)


RELUS: dict[str, tuple[Callable[[Tensor], Tensor], Outcome]] = {
    "`F.relu(u)`, `torch.relu(u)`, `u.relu()`": (F.relu, "followed"),
    "`F.relu(u, inplace=True)`, `u.relu_()`": (lambda u: F.relu(u.clone(), inplace=True), "followed"),
    "`u * (u > 0)`": (lambda u: u * (u > 0), "followed"),
    "`(u >= 0).float() * u`": (lambda u: (u >= 0).float() * u, "followed"),
    "`u * (0 < u).to(u)`": (lambda u: u * (u > 0).to(u), "followed"),
    "`u * (~(u <= 0)).int()`": (lambda u: u * (~(u <= 0)).int(), "followed"),
    "`u * (1 - (u < 0).float())`": (lambda u: u * (1 - (u < 0).float()), "followed"),
    "`u - (u < 0) * u`": (lambda u: u - (u < 0) * u, "followed"),
    "`u * (u.detach() > 0)`, `u * (u.data > 0)`": (lambda u: u * (u.data > 0), "followed"),
    "a mask made under `torch.no_grad()`": (masked_apart, "followed"),
    "`u.clone().mul_(u > 0)`": (lambda u: u.clone().mul_(u > 0), "followed"),
    "`u * (torch.sign(u) + 1) / 2`": (lambda u: u * (torch.sign(u) + 1) / 2, "followed"),
    "`u * torch.sign(u).clamp(min=0)`": (lambda u: u * torch.sign(u).clamp(min=0), "followed"),
    "`u * torch.heaviside(u, zeros)`, which torch cannot differentiate": (
        lambda u: u * torch.heaviside(u, zero(u)),
        "refused",
    ),
    "`u * torch.heaviside(u.detach(), zeros)`": (
        lambda u: u * torch.heaviside(u.detach(), zero(u)),
        "followed",
    ),
    "`torch.where(u > 0, u, 0)`": (lambda u: torch.where(u > 0, u, 0.0), "followed"),
    "`torch.where(u < 0, zeros, u)`": (lambda u: torch.where(u < 0, zero(u), u), "followed"),
    "`torch.where(u > 0, 1.0, 0.0) * u`": (lambda u: torch.where(u > 0, 1.0, 0.0) * u, "followed"),
    "`torch.maximum(u, zeros)`, `torch.fmax`": (lambda u: torch.maximum(u, zero(u)), "followed"),
    "`torch.max(u, zeros)`": (lambda u: torch.max(u, zero(u)), "followed"),
    "`-torch.minimum(-u, zeros)`": (lambda u: -torch.minimum(-u, zero(u)), "followed"),
    "`torch.stack([u, zeros]).amax(0)`": (lambda u: torch.stack([u, zero(u)]).amax(0), "followed"),
    "`torch.stack([u, zeros], -1).max(-1).values`": (
        lambda u: torch.stack([u, zero(u)], -1).max(-1).values,
        "followed",
    ),
    "`torch.cat([u[None], zeros[None]]).max(0)[0]`": (
        lambda u: torch.cat([u.unsqueeze(0), zero(u).unsqueeze(0)]).max(0)[0],
        "followed",
    ),
    "`(u + u.abs()) / 2`": (lambda u: (u + u.abs()) / 2, "followed"),
    "`0.5 * u + 0.5 * torch.abs(u)`": (lambda u: 0.5 * u + 0.5 * torch.abs(u), "followed"),
    "`u.masked_fill(u < 0, 0)`": (lambda u: u.masked_fill(u < 0, 0), "followed"),
    "`u[u < 0] = 0`": (assigned, "followed"),
    "`u.clamp(min=0)`, `torch.clip(u, 0)`": (lambda u: u.clamp(min=0), "followed"),
    "`u.clamp_min_(0)`": (lambda u: u.clone().clamp_min_(0), "followed"),
    "`torch.clamp(u, min=torch.tensor(0.0))`": (lambda u: torch.clamp(u, min=torch.tensor(0.0)), "followed"),
    "`-torch.clamp(-u, max=0)`": (lambda u: -torch.clamp(-u, max=0), "followed"),
    "`F.threshold(u, 0, 0)`": (lambda u: F.threshold(u, 0.0, 0.0), "followed"),
    "`F.hardtanh(u, 0, inf)`": (lambda u: F.hardtanh(u, 0.0, float("inf")), "followed"),
    "`F.leaky_relu(u, 0)`, `F.prelu(u, zero)`": (lambda u: F.leaky_relu(u, 0.0), "followed"),
    "`(u + (u * u).sqrt()) / 2`": (lambda u: (u + (u * u).sqrt()) / 2, "refused"),
    "`(u + torch.hypot(u, zeros)) / 2`": (lambda u: (u + torch.hypot(u, zero(u))) / 2, "refused"),
    "`(u + u * torch.copysign(ones, u)) / 2`": (
        lambda u: (u + u * torch.copysign(torch.ones_like(u), u)) / 2,
        "refused",
    ),
    "`torch.addcmul(zeros, u, mask)`, `torch.einsum`": (
        lambda u: torch.addcmul(zero(u), u, (u > 0).to(u)),
        "refused",
    ),
    "`u * ((u > 0) & (u < 9))`": (lambda u: u * ((u > 0) & (u < 9)), "refused"),
    "`torch.stack([u, zeros], -1).sort().values[..., 1]`, `topk`": (
        lambda u: torch.stack([u, zero(u)], -1).sort().values[..., 1],
        "refused",
    ),
    "max pooling over `u` and zeros": (
        lambda u: F.max_pool1d(torch.stack([u, zero(u)], -1).flatten(0, -2), 2).view_as(u),
        "refused",
    ),
    "`torch.jit.script`": (lambda u: scripted(u), "refused"),  # noqa: PLW0108 - it cannot be copied
    "a `torch.autograd.Function` with its own backward": (Hand.apply, "refused"),
}
"""Spellings of ReLU, each with a function and its outcome."""

OTHERS: dict[str, tuple[Callable[[], nn.Module], Outcome]] = {
    "`nn.ReLU6`, `F.relu6`": (nn.ReLU6, "followed"),
    "`nn.LeakyReLU`, `F.leaky_relu`": (lambda: nn.LeakyReLU(0.1), "followed"),
    "`nn.PReLU`, `F.prelu`": (lambda: nn.PReLU(16), "followed"),
    "`nn.RReLU` in eval mode": (nn.RReLU, "followed"),
    "`nn.ELU`, `nn.CELU`": (nn.ELU, "followed"),
    "`nn.ELU(alpha)` with another alpha than 1": (lambda: nn.ELU(0.3), "followed"),
    "`nn.SELU`": (nn.SELU, "followed"),
    "`nn.Hardtanh`, `u.clamp(a, b)`": (nn.Hardtanh, "followed"),
    "`nn.Hardsigmoid`": (nn.Hardsigmoid, "followed"),
    "`nn.Hardswish`, `u * F.relu6(u + 3) / 6`": (nn.Hardswish, "followed"),
    "`nn.Softshrink`": (lambda: nn.Softshrink(0.1), "followed"),
    "`nn.Hardshrink`": (lambda: nn.Hardshrink(0.1), "refused"),
    "`nn.Threshold(a, b)`, a and b unequal": (lambda: nn.Threshold(0.1, 0.3), "refused"),
    "`nn.GELU`, `nn.SiLU`, `nn.Mish`, `nn.Softplus`": (nn.GELU, "followed"),
    "`nn.Tanh`, `nn.Sigmoid`, `nn.Softsign`": (nn.Tanh, "followed"),
    "`torch.where(u > 0, u, 0.1 * u)`, `torch.maximum(u, 0.1 * u)`": (
        lambda: Act(lambda u: torch.where(u > 0, u, 0.1 * u)),
        "followed",
    ),
    "a `torch.autograd.Function` whose backward can be differentiated": (lambda: Act(Whole.apply), "followed"),
    "one whose backward calls `detach`": (lambda: Act(Detached.apply), "refused"),
    "one that is `once_differentiable`": (lambda: Act(Once.apply), "refused"),
    "max pooling, `amax` over channels or positions": (lambda: nn.MaxPool2d(3, 1, 1), "kept"),
    "layer, group, instance and batch normalisation": (lambda: nn.GroupNorm(4, 16), "followed"),
    "`F.normalize` and other guarded divisions": (lambda: Act(lambda u: F.normalize(u, dim=1)), "followed"),
    "`F.scaled_dot_product_attention`": (lambda: Tokens(Attention()), "followed"),
    "`nn.MultiheadAttention`": (lambda: Tokens(Multihead()), "followed"),
    "`nn.TransformerEncoderLayer`": (
        lambda: Tokens(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)),
        "followed",
    ),
    "weights under `spectral_norm`, `weight_norm`, `prune`": (hooked, "followed"),
    "weights under `torch.nn.utils.parametrizations`": (
        lambda: parametrized_spectral_norm(nn.Conv2d(16, 16, 3, padding=1)),
        "followed",
    ),
    "a layer with hooks that change what passes": (with_hook, "followed"),
    "a part under `torch.no_grad()` beside others": (lambda: Act(lambda u: u + still(u)), "refused"),
    "everything under `torch.no_grad()`, `detach`, rounding": (lambda: Act(lambda u: u.detach()), "refused"),
}
"""Other parts of a network."""


class Act(nn.Module):
    """A module that calls a function."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, u: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return self.function(u)


class Attention(nn.Module):
    """Attention by torch's function."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(16, 48)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, 16) from the same shape."""
        q, k, v = self.qkv(tokens).view(len(tokens), -1, 3, 2, 8).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Multihead(nn.Module):
    """Attention by torch's module, without returned weights."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """(N, L, 16) from the same shape."""
        return self.attention(tokens, tokens, tokens, need_weights=False)[0]


class Tokens(nn.Module):
    """A block on tokens, which are the positions of feature maps."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, u: Tensor) -> Tensor:
        """(N, 16, H, W) from the same shape."""
        return u + self.block(u.flatten(2).transpose(1, 2)).transpose(1, 2).view_as(u)


def network(part: nn.Module) -> nn.Module:
    """Return a small network around a part, with fixed random weights."""
    made = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), part, nn.Conv2d(16, 16, 3, padding=1), nn.Tanh(), nn.Flatten(),
        nn.Linear(16 * 64, 10),
    )  # fmt: skip
    generator = Rng(0).generator()
    for parameter in made.parameters():
        fan = parameter[0].numel() if parameter.dim() > 1 else 20
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * (2 / fan) ** 0.5)
    return made.eval().requires_grad_(False)


def images() -> Tensor:
    """(2, 3, 16, 16): two random images."""
    return torch.rand((2, 3, 16, 16), generator=Rng(1).generator())


class Derivatives(NamedTuple):
    """The derivatives that an attack needs from a network."""

    logits: Tensor
    gradient: Tensor
    curvature: Tensor

    def gap(self, other: Derivatives) -> float:
        """Return the largest relative difference."""
        return max(float((a - b).norm() / b.norm()) for a, b in zip(self, other, strict=True))


def derivatives(smooth: nn.Module, at: Tensor) -> Derivatives:
    """Return logits, first gradient and its Hessian times the image."""
    leaf = at.clone().requires_grad_()
    logits = smooth(leaf)
    (gradient,) = torch.autograd.grad(logits[:, 0].sum(), leaf, create_graph=True)
    (curvature,) = torch.autograd.grad((gradient * at).sum(), leaf)
    return Derivatives(logits.detach(), gradient.detach(), curvature)


def outcome_of(part: nn.Module) -> Outcome:
    """Return the outcome for a network with this part."""
    whole = network(part)
    try:
        surrogate(whole, BETA, images())
    except UsageError:
        return "refused"
    pools = any(isinstance(module, nn.MaxPool2d) for module in whole.modules())
    return "kept" if pools else "followed"


def relu_gap(function: Callable[[Tensor], Tensor]) -> float:
    """Return the error of a ReLU spelling's surrogate.

    The reference is the surrogate of `nn.ReLU`.
    """
    true = derivatives(smooth_copy(network(nn.ReLU()), BETA), images())
    return derivatives(surrogate(network(Act(function)), BETA, images()), images()).gap(true)


def page() -> str:
    """Return the page, after trying every spelling."""
    rows = [("ReLU", name, outcome_of(Act(function))) for name, (function, _) in RELUS.items()]
    rows += [("other", name, outcome_of(copy.deepcopy(make()))) for name, (make, _) in OTHERS.items()]
    relus = [f"| {name} | {outcome} |" for kind, name, outcome in rows if kind == "ReLU"]
    others = [f"| {name} | {outcome} |" for kind, name, outcome in rows if kind == "other"]
    head = "| spelling | outcome |\n| --- | --- |"
    tables = [TEXT, head.replace("spelling", "ReLU written as"), *relus, "", OTHER_TEXT, head, *others]
    return "\n".join([*tables, "", FAMILIES_TEXT, *families.table(), ""])


TEXT = """# Which networks can be measured

Attacks on explanations need second derivatives, and a network of straight lines has none. So an attack looks at a
smooth surrogate: the same network with each kink rounded by softplus. A surrogate that misses a kink makes the attack
weak and the score too good, without a sign of it. Therefore every network is prepared in one way, for runs and for
training:

1. `nn.ReLU` modules become softplus; convolutions and normalisations get cheaper second derivatives. Layers with hooks
   or parametrisations stay as they are.
2. Kinks anywhere else in Python code are found when torch's functions are called, or are put together of comparisons,
   products and sums, and are rounded there.
3. On two images the surrogate, nearly sharp, must have the logits and gradients of the network; and the change of its
   gradient over a short way must be the integral of its second derivatives, up to 2 %. That asks no function by name.
   A network that fails is refused, with what was met.

Trainings and submissions stop at a refusal. A run goes on without a surrogate, also where the surrogate foretells less
than 40 % of how the gradient changes across the ball: the attack takes differences of the network's own gradient, which
ask no function by name. Such a run raises the flag `hidden-curvature` and does not rank. Only a network without a
gradient cannot be run at all.

*Followed*: the surrogate is that of `nn.ReLU` to 1e-5 in logits, gradients and second derivatives, or, for other
functions, the check of 3 holds. *Refused*: one sentence, no number. *Kept*: as it is; where the largest of several
values changes, the surrogate has a kink, too, which attacks do not see.

This page is written by `python -m tests.support.networks`, which tries each line; a test compares it.
"""
OTHER_TEXT = "Other parts:\n"
FAMILIES_TEXT = """## Families of networks

Small networks of the usual families with random weights. *Attacked*: `ifia-topk` changed the gradient map of an image
by two steps of 1/510, the judge measured it, and in float64 a Hessian-vector product of the surrogate equals central
differences of its gradient to 1e-5.
"""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
