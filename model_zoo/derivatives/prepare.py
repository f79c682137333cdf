"""Makes the smooth surrogate of a network, for attacks, trainings and checks.

All attacks, trainings and checks get their surrogates here. The cheapest surrogate comes first. It is accepted only if,
nearly sharp, it has the network's logits and gradients, and if its second derivatives explain how its gradient changes.
Otherwise the next one is tried: the layers stay, and kinks are rounded where Python code calls them. If no surrogate is
accepted, trainings and submissions refuse the network; runs attack it by differences of its gradient, and do not rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.core.compute.norms import project
from bench.core.compute.rng import Rng
from bench.core.errors import BenchError, UsageError
from bench.core.schemas.flags import FORETOLD
from bench.core.schemas.protocol import ThreatModel
from model_zoo.derivatives.curvature import SHARPNESS, Remainders, explained, gradient, shortening, unexplained
from model_zoo.derivatives.differenced import Differenced
from model_zoo.derivatives.fused import fused
from model_zoo.derivatives.spellings import Pooled, Spellings
from model_zoo.derivatives.surrogate import Followed, shared_copy, sharpened, smooth_copy

PROBES = 2
"""Number of images on which a surrogate is tried."""
TRIED = 8
"""Number of images on which a surrogate foretells the change of the gradient."""
SHARP = 1e5
"""Factor on the sharpness at which a surrogate equals the network within rounding."""
SAME_LOGIT, SAME_GRADIENT = 1e-3, 5e-2
"""Largest relative differences that rounding may cause, also where it moves a unit across its kink."""
UNEXPLAINED = 0.02
"""Allowed share of a gradient's change. One hidden activation among 25 gives 0.03 to 0.6, no hidden one less than
0.007."""
STEP = 0.5 / 255
"""Distance that each pixel of a probe moves; less in large images (`shortening`)."""
PARTS = (1, 4, 16)
"""Numbers of parts of that distance. A network that bends more gets a finer quadrature."""


def surrogate(model: nn.Module, beta: float, images: Tensor, *, fuse: bool = False) -> nn.Module:
    """Return the smooth surrogate of a network after checks.

    Args:
        model: (N, C, H, W) images in [0, 1] to (N, K) logits.
        beta: sharpness of softplus, > 0.
        images: (M, C, H, W) of which the first are tried.
        fuse: whether normalisation and softplus are one kernel, which is faster on GPUs.
    Returns:
        A network over the same parameters, in the mode (train, eval) of `model`, with two derivatives.
    Raises:
        UsageError: if every surrogate fails the checks, with the reason of the last one.
    """
    refusal: UsageError | None = None
    for candidate in _candidates(model, beta, images[:PROBES], fuse):
        try:
            check_surrogate(model, candidate, images)
        except UsageError as error:
            refusal = error
        else:
            return candidate
    assert refusal is not None
    raise refusal


def attackable(model: nn.Module, beta: float, images: Tensor, threat: ThreatModel, *, fuse: bool = False) -> nn.Module:
    """Return what attacks differentiate twice: the surrogate, or differences.

    A network whose surrogates are all refused, or foretell too little of how its gradient changes across the ball,
    keeps its own gradient; differences of it stand in for second derivatives.

    Args:
        model: (N, C, H, W) images in [0, 1] to (N, K) logits.
        beta: sharpness of softplus, > 0.
        images: (M, C, H, W) of which the first are tried.
        threat: the ball.
        fuse: as in `surrogate`.
    Raises:
        UsageError: if the network has no gradient with respect to images either.
    """
    try:
        smooth = surrogate(model, beta, images, fuse=fuse)
    except UsageError as refusal:
        with _in_eval(model):
            probes = _probes(images[:PROBES])
            _gradient_of(model, probes, torch.zeros(len(probes), dtype=torch.int64, device=probes.device))
        return Differenced(model, str(refusal))
    share = _foretold(model, smooth, images[:TRIED], threat)
    if share >= FORETOLD:
        return smooth
    return Differenced(
        model,
        f"expected a surrogate that foretells at least {FORETOLD:.0%} of how the network's gradient changes across the "
        f"ball, got one that foretells {share:.0%}",
    )


def _foretold(model: nn.Module, smooth: nn.Module, images: Tensor, threat: ThreatModel) -> float:
    """Return the median share of the gradient's change that a surrogate foretells.

    It is 1 where there is no ball, or the gradient does not change.
    """
    if threat.unbounded:
        return 1.0
    drawn = torch.rand(images.shape, generator=Rng(0).fork("foretold").generator()).to(images) - 0.5
    ends = project(images, images + float(threat.epsilon) * drawn.sign(), threat)
    with _in_eval(model, smooth), sharpened(smooth, SHARPNESS), Pooled(), torch.no_grad():
        labels, directions = model(images).argmax(1), (ends - images) * shortening(images)
        few = [slice(start, start + PROBES) for start in range(0, len(images), PROBES)]  # what memory is there for
        shares = torch.cat([explained(model, smooth, images[s], labels[s], directions[s]) for s in few])
    known = shares[shares.isfinite()]
    return float(known.median()) if len(known) else 1.0


def _candidates(model: nn.Module, beta: float, images: Tensor, fuse: bool) -> Iterator[nn.Module]:
    """Yield surrogates, the fastest one first."""
    copied = smooth_copy(model, beta)
    if not _needs_following(copied, beta, images):
        if fuse and (fast := fused(copied)) is not copied:
            yield fast
        yield copied
    yield Followed(copied, beta).train(copied.training)
    yield Followed(shared_copy(model), beta).train(model.training)


def _needs_following(copied: nn.Module, beta: float, images: Tensor) -> bool:
    """Return whether kinks stand outside of modules of nn.ReLU.

    The same holds for attention without a second derivative.
    """
    with _in_eval(copied), torch.enable_grad(), Remainders() as met, Spellings(beta) as spellings:
        try:
            copied(images.clone().requires_grad_())
        except Exception:  # a network that reads its layers' attributes fails when they are replaced
            return True
    return bool(spellings.followed) or met.attention or bool(met.kinks)


def check_surrogate(model: nn.Module, smooth: nn.Module, images: Tensor) -> None:
    """Compare a surrogate with its network on a few images.

    These are the first of (M, C, H, W) images.

    Raises:
        UsageError: if it has other logits or other gradients, or bends where its second derivative is zero.
    """
    with _in_eval(model, smooth):
        probes = _probes(images[:PROBES])
        try:
            _check_likeness(model, smooth, probes)
            _check_curvature(smooth, probes)
        except BenchError:
            raise
        except Exception as error:  # a network may fail in ways of its own
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise UsageError(
                f"expected a network that can be differentiated twice, got: {reason}{_named(smooth, probes)}; "
                "write that layer of functions that torch differentiates twice"
            ) from error


def is_same(network: nn.Module, rewritten: nn.Module, images: Tensor) -> bool:
    """Return whether a rewritten network has the same answers and gradients."""
    try:
        _check_likeness(network, rewritten, _probes(images[:PROBES]))
    except Exception:  # a network may raise anything; the given network is checked later
        return False
    return True


def _probes(images: Tensor) -> Tensor:
    """Return images with a little noise.

    Then no exact zero lies on a kink.
    """
    noise = torch.rand(images.shape, generator=Rng(0).fork("surrogate").generator()).to(images)
    return 0.96 * images.detach() + 0.04 * noise


def _check_likeness(model: nn.Module, smooth: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        logits = model(images)
    labels = logits.argmax(1)
    theirs = _gradient_of(model, images, labels)
    with sharpened(smooth, SHARP):
        with torch.no_grad():
            answers = smooth(images)
        ours = _gradient_of(smooth, images, labels)
    for what, mine, network, allowed in (
        ("logits", answers, logits, SAME_LOGIT),
        ("gradients", ours, theirs, SAME_GRADIENT),
    ):
        known = network.isfinite()  # what the network itself does not know is flagged by the judge
        size = network[known].norm().clamp(min=torch.finfo(network.dtype).tiny)
        gap = float((mine - network)[known].norm() / size)
        if not gap <= allowed:
            raise UsageError(
                f"expected a smooth surrogate with the network's {what}, got a relative difference of "
                f"{gap:.2g}{_named(smooth, images)}; write the network of nn.Module layers whose forward is all that "
                "they do"
            )


def _gradient_of(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    try:
        return gradient(network, images, labels)
    except RuntimeError as error:
        if "does not require grad" not in str(error) and "not have been used in the graph" not in str(error):
            raise
        raise UsageError(
            "expected logits with a gradient with respect to the images, got none: the network is cut off from them "
            "(torch.no_grad, detach, rounding or numpy in its forward); no attack with gradients can be made on it"
        ) from error


def _check_curvature(smooth: nn.Module, images: Tensor) -> None:
    if names := _met(smooth, images).kinks:
        raise _bent(f"{', '.join(sorted(names))}, which bends where nothing rounds it", smooth, images)
    sign = Rng(0).fork("curvature").generator()
    directions = (torch.rand(images.shape, generator=sign).round() * 2 - 1).to(images) * (STEP * shortening(images))
    with Pooled():
        for parts in PARTS:
            gap = unexplained(smooth, images, directions, parts)
            if gap <= UNEXPLAINED:
                return
    raise _bent(f"a network whose second derivative misses {gap:.0%} of how its gradient changes", smooth, images)


def _bent(what: str, smooth: nn.Module, images: Tensor) -> UsageError:
    return UsageError(
        f"expected activations that attacks can follow, got {what}{_named(smooth, images)}; use nn.ReLU or another one "
        "that docs/networks.md lists as followed"
    )


def _met(smooth: nn.Module, images: Tensor) -> Remainders:
    met = Remainders()
    with torch.enable_grad(), met:
        smooth(images.clone().requires_grad_())
    return met


def _named(smooth: nn.Module, images: Tensor) -> str:
    """Return which comparisons and backward passes were not understood.

    Such functions bring their own backward pass.
    """
    with torch.enable_grad(), Spellings(1.0) as spellings:
        try:
            logits = smooth(images.clone().requires_grad_())
        except Exception:  # what it is, the caller says
            return ""
    found = [f"{name} with a comparison" for name in sorted(spellings.escaped)]
    found += [f"{name}, which has a backward of its own" for name in _own_backwards(logits)]
    return f" ({'; '.join(found)})" if found else ""


def _own_backwards(logits: Tensor) -> list[str]:
    """Return the names of functions with hand-written derivatives in a graph.

    Our own functions are left out.
    """
    names, seen, left = set(), set(), [logits.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        left += [before for before, _ in node.next_functions]
        written = getattr(type(node), "_forward_cls", None)
        if written is not None and not written.__module__.startswith("model_zoo."):
            names.add(written.__name__)
    return sorted(names)


@contextmanager
def _in_eval(*networks: nn.Module) -> Iterator[None]:
    """Put networks into eval mode while a block runs."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
