"""Networks, images and pairs as the judge makes them.

They are for the oracles of metrics that use the network.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import AttributionMethod, Pair
from bench.run.attack.views import Explainer, JudgeProbe
from model_zoo.build import classifier, freeze
from tests.support.tiny import tiny_network

SIDE = 8
RNG = SampleRng(Rng(0), ("a", "b", "c"))


def network() -> nn.Module:
    return freeze(classifier(tiny_network(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))).double()


def linear_network() -> nn.Module:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4))
    for seed, parameter in enumerate(linear.parameters()):
        parameter.data = torch.randn(parameter.shape, generator=Rng(seed).generator())
    return freeze(linear).double()


def images_of(purpose: str, low: float = 0.25, high: float = 0.75) -> Tensor:
    return RNG.fork(purpose).uniform((3, SIDE, SIDE), low, high).double()


def judged(model: nn.Module, method: AttributionMethod, before: Tensor, after: Tensor | None = None) -> Pair:
    """Make a pair as the judge does.

    The explained class is the class predicted before.
    """
    labels = model(before).argmax(1)
    explainer = Explainer(method, "sum-of-abs")
    sides = [explainer.view(model, images, labels, RNG) for images in (before, before if after is None else after)]
    return Pair(sides[0], sides[1], labels, None, JudgeProbe(model, method, labels, RNG, RNG.fork("metrics")))


def asked(pair: Pair) -> JudgeProbe:
    assert isinstance(pair.probe, JudgeProbe)
    return pair.probe


def logit(pair: Pair, images: Tensor) -> Tensor:
    probe = asked(pair)
    return probe.logits(images).gather(1, probe.labels.unsqueeze(1)).squeeze(1)


def per_draw(of_each: Callable[[int], Tensor], draws: int) -> Tensor:
    """Stack the draws of each sample: (N * draws, ...).

    The draws of one sample are side by side, as captum repeats its inputs.
    """
    return torch.stack([of_each(draw) for draw in range(draws)], 1).flatten(0, 1)
