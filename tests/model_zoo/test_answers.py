"""The required answers of a network, and the remedies in refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.errors import ModelOutputError
from model_zoo.build import classifier
from model_zoo.logits import check_logits, failure
from model_zoo.training.initial_weights import initialize

IMAGES = torch.rand((3, 3, 8, 8), generator=Rng(0).generator())


def network(side: int = 8) -> nn.Module:
    layers = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * side**2, 5))
    initialize(layers, Rng(0))
    return layers


class Wrapped(nn.Module):
    """A network whose forward does something else."""

    def __init__(self, forward: Callable[[nn.Module, Tensor], Any], inner: nn.Module | None = None) -> None:
        super().__init__()
        self.network, self.wrapped = network() if inner is None else inner, forward

    def forward(self, images: Tensor) -> Any:
        return self.wrapped(self.network, images)


def few(net: nn.Module, images: Tensor) -> Tensor:
    assert len(images) <= 3, "at most three"
    return net(images)


def centred(net: nn.Module, images: Tensor) -> Tensor:
    return net(images - images.mean(0))


def dropped(net: nn.Module, images: Tensor) -> Tensor:
    return net(F.dropout(images, 0.5))


def short(net: nn.Module, images: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return net(images)


@pytest.mark.parametrize(
    ("forward", "message", "remedy"),
    [
        (few, r"expected a network of \(8, 3, 8, 8\) images, got: AssertionError: at most three; correct", None),
        (lambda net, x: net(x).view(3, 5), r"got: shape '\[3, 5\]' is invalid", None),
        (lambda net, x: net(x).nothing, "got: AttributeError: .*nothing", None),
        (
            centred,
            r"whichever others are in its batch, .* torch\.cat\(\[network\(image\[None\]\) for image in images\]\)",
            lambda net, x: torch.cat([net(image[None]) for image in x]),
        ),
        (dropped, r"expected equal answers to equal questions.*training=self\.training", None),
        (
            short,
            r"expected float32 logits, got torch\.bfloat16; take torch\.autocast",
            lambda net, x: cast(Wrapped, net).network(x),
        ),
        (lambda net, x: net(x).argmax(1), r"got torch\.int64; return the numbers before argmax", None),
        (
            lambda net, x: {"features": x, "logits": net(x)},
            r"got a dict of features, logits; .*self\.network\(images\)\['logits'\]",
            lambda net, x: net(x)["logits"],
        ),
        (lambda net, x: (net(x), x), r"got tuple of 2; .*self\.network\(images\)\[0\]", lambda net, x: net(x)[0]),
        (lambda net, x: net(x) * torch.nan, "finite logits, got NaN or infinity for 3 of 3", None),
    ],
)
def test_a_refusal_is_one_sentence_and_its_remedy_helps(
    forward: Callable[[nn.Module, Tensor], Any], message: str, remedy: Callable[[nn.Module, Tensor], Tensor] | None
) -> None:
    refused = Wrapped(forward).eval()
    with pytest.raises(ModelOutputError, match=message) as caught:
        check_logits(refused, IMAGES, 5)
    assert "\n" not in str(caught.value)
    if remedy is not None:
        check_logits(Wrapped(remedy, refused).eval(), IMAGES, 5)


def test_dropout_that_follows_the_mode_is_taken() -> None:
    class Drop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network()

        def forward(self, images: Tensor) -> Tensor:
            return self.network(F.dropout(images, 0.5, training=self.training))

    check_logits(Drop().eval(), IMAGES, 5)


def test_both_sizes_are_named_and_the_resize_helps() -> None:
    large = network(28)
    with pytest.raises(
        ModelOutputError, match=r"network of 8x8 images, .*, got one of 28x28; .*nn\.Upsample\(size=28\)"
    ):
        check_logits(large, IMAGES, 5)
    check_logits(nn.Sequential(nn.Upsample(size=28), large), IMAGES, 5)


@pytest.mark.parametrize(("takes", "given", "remedy"), [(3, 1, "repeat"), (1, 3, "average")])
def test_other_channels_are_named(takes: int, given: int, remedy: str) -> None:
    grey = nn.Sequential(nn.Conv2d(takes, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    with pytest.raises(
        ModelOutputError, match=rf"images with {given} channels, as these have, got one of {takes}; {remedy}"
    ):
        check_logits(grey.eval(), torch.rand(2, given, 8, 8, generator=Rng(2).generator()), 5)


def test_a_classifier_says_an_error_wherever_it_is_asked() -> None:
    model = classifier(Wrapped(few), (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    model(IMAGES)
    with pytest.raises(ModelOutputError, match=r"\(6, 3, 8, 8\) images, got: AssertionError: at most three"):
        model(torch.cat([IMAGES, IMAGES]))


def test_memory_that_runs_out_is_no_mistake_of_the_network() -> None:
    error = MemoryError("DefaultCPUAllocator: can't allocate memory")
    assert failure(error, IMAGES) is error
