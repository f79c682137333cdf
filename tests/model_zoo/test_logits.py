"""Find what squashes a network's logits, and the numbers before it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.errors import ModelOutputError
from model_zoo.derivatives.prepare import surrogate
from model_zoo.logits import left_out, unsquashed
from tests.support import broken

Squash = Callable[[Tensor], Tensor]
IMAGES = torch.rand(2, 3, broken.SIDE, broken.SIDE, generator=torch.Generator().manual_seed(0))

KNOWN: list[tuple[Squash, str]] = [
    (torch.sigmoid, "sigmoid"),
    (lambda z: z.sigmoid(), "sigmoid"),
    (F.sigmoid, "sigmoid"),
    (nn.Sigmoid(), "sigmoid"),
    (torch.special.expit, "sigmoid"),
    (lambda z: z.softmax(1), "softmax"),
    (lambda z: F.softmax(z, dim=-1), "softmax"),
    (lambda z: torch.softmax(input=z, dim=1), "softmax"),
    (nn.Softmax(dim=1), "softmax"),
    (lambda z: F.log_softmax(z, 1), "log_softmax"),
    (nn.LogSoftmax(dim=1), "log_softmax"),
    (torch.tanh, "tanh"),
    (nn.Tanh(), "tanh"),
]
UNKNOWN: list[Squash] = [
    lambda z: z,
    lambda z: 10 * torch.tanh(z / 10),
    lambda z: z.softmax(0),
    lambda z: z.sigmoid() + 0 * z.tanh(),
    lambda z: F.normalize(z, dim=1),
]


class Ending(nn.Module):
    """The sound network with an end."""

    def __init__(self, end: Squash) -> None:
        super().__init__()
        self.network, self.end = broken.sound(), end

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.network(images))


@pytest.mark.parametrize(("squash", "name"), KNOWN)
def test_the_numbers_before_a_known_end_are_those_of_the_network_without_it(squash: Squash, name: str) -> None:
    found = unsquashed(nn.Sequential(nn.Identity(), Ending(squash)), IMAGES)
    assert left_out(found) == name
    assert torch.equal(found(IMAGES), broken.sound()(IMAGES))


@pytest.mark.parametrize("squash", UNKNOWN)
def test_another_end_stays(squash: Squash) -> None:
    network = Ending(squash)
    assert unsquashed(network, IMAGES) is network
    assert left_out(network) is None


def test_the_surrogate_is_that_of_the_logits() -> None:
    smooth, plain = (
        surrogate(each, 50.0, IMAGES) for each in (unsquashed(Ending(torch.sigmoid), IMAGES), broken.sound())
    )
    torch.testing.assert_close(smooth(IMAGES), plain(IMAGES))


def test_a_network_that_ends_otherwise_for_other_images_is_refused() -> None:
    found = unsquashed(Ending(lambda z: z.sigmoid() if len(z) == len(IMAGES) else z), IMAGES)
    with pytest.raises(ModelOutputError, match="expected a network that ends in sigmoid"):
        found(IMAGES[:1])
