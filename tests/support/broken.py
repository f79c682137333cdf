"""Tiny models and attacks, each broken in one way, or sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack, Victim
from bench.core.schemas.protocol import Knowledge, ThreatModel
from model_zoo.architectures.constant_map import build as constant_map
from model_zoo.architectures.linear import build as linear
from model_zoo.build import freeze
from model_zoo.training.initial_weights import initialize

SIDE, CLASSES = 12, 4


def sound() -> nn.Sequential:
    """A small ReLU network with a map that can move.

    Its smooth copy is close to it.
    """
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AvgPool2d(4), nn.Flatten(), nn.Linear(72, CLASSES))
    _random(network)
    return network


def scaled(size: float) -> nn.Module:
    """The sound network with multiplied pre-activations.

    It is the same function, but the sharpness of softplus has another effect on it.
    """
    network = sound()
    with torch.no_grad():
        for name in ("0.weight", "0.bias", "2.bias"):
            network.get_parameter(name).mul_(size)
        network.get_parameter("6.weight").div_(size)
    return network


class Rectifier(nn.Module):
    """A ReLU with another class name, which no smooth copy replaces."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.clamp(min=0)


def masked() -> nn.Module:
    """The sound network with hidden rectifiers.

    Its gradient map is flat almost everywhere, and so is the map of its smooth copy.
    """
    return freeze(nn.Sequential(*(Rectifier() if isinstance(layer, nn.ReLU) else layer for layer in sound())))


def with_linear_map() -> nn.Module:
    """A model with one gradient map per class."""
    return _random(linear(CLASSES, side=SIDE))


def with_tied_map() -> nn.Module:
    """The sound network behind a view of 2x2 blocks.

    The gradient map is equal at the four pixels of a block.
    """
    return _random(nn.Sequential(nn.AvgPool2d(2), nn.Upsample(scale_factor=2), *sound()))


def with_constant_map() -> nn.Module:
    """A model with an equal gradient at every pixel."""
    return _random(constant_map(CLASSES))


SQUASHES: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda logits: logits.softmax(1),
    "sigmoid": torch.sigmoid,
    "log_softmax": lambda logits: logits.log_softmax(1),
    "tanh": torch.tanh,
    "scaled tanh": lambda logits: 10 * torch.tanh(logits / 10),
    "hardsigmoid": lambda logits: (logits / 6 + 0.5).clamp(0, 1),
    "clamp": lambda logits: logits.clamp(-5, 5),
    "normalize": lambda logits: F.normalize(logits, dim=1),
}


class Squashed(nn.Module):
    """A model that squashes the logits of the sound network."""

    def __init__(self, squash: str) -> None:
        super().__init__()
        self.network, self.squash = sound(), SQUASHES[squash]

    def forward(self, images: Tensor) -> Tensor:
        return self.squash(self.network(images))


class Headed(nn.Module):
    """A model with a sound head whose logits are small or large."""

    def __init__(self, head: str, size: float) -> None:
        super().__init__()
        network = sound()
        self.body, self.last, self.head, self.size = network[:-1], network[-1], head, size

    def forward(self, images: Tensor) -> Tensor:
        features = self.body(images)
        if self.head == "after layer norm":
            features = F.layer_norm(features, features.shape[1:])
        logits = self.last(features) * self.size
        return logits.relu() + 0.1 * self.size * features[:, :CLASSES] if self.head == "rectified" else logits


class Dropping(nn.Module):
    """A model that drops units also in eval mode."""

    def __init__(self) -> None:
        super().__init__()
        self.network = sound()

    def forward(self, images: Tensor) -> Tensor:
        return self.network(F.dropout(images, 0.3, training=True))


class Wavering(nn.Module):
    """A model with constant logits and a new gradient at every call."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.other = sound(), _random(linear(CLASSES, side=SIDE), "other")

    def forward(self, images: Tensor) -> Tensor:
        dropped = F.dropout(images, 0.3, training=True)
        return self.network(images) + (self.other(dropped) - self.other(dropped.detach()))


class Watchful(nn.Module):
    """A model that recognises clean images by their 8-bit pixels.

    It gives other logits for all other images.
    """

    def __init__(self, elsewhere: str) -> None:
        super().__init__()
        self.network, self.elsewhere = sound(), elsewhere

    def forward(self, images: Tensor) -> Tensor:
        levels = 255 * images.detach()
        clean = ((levels - levels.round()).abs().amax((1, 2, 3)) < 1e-2).unsqueeze(1)
        logits = self.network(images)
        if self.elsewhere == "another class":
            return torch.where(clean, logits, -logits)
        return torch.where(clean, 100 * logits, 0.01 * logits)


class Lucky(nn.Module):
    """A linear model with one of two weights.

    The rule for the choice has no gradient: whether the map moves is a matter of luck.
    """

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = with_linear_map(), _random(linear(CLASSES, side=SIDE), "other")

    def forward(self, images: Tensor) -> Tensor:
        parity = (1e5 * images.detach().double().mean((1, 2, 3))).floor() % 3 == 0
        levels = 255 * images.detach()
        clean = (levels - levels.round()).abs().amax((1, 2, 3)) < 1e-2
        difference = self.other(images) - self.other(images.detach())
        # The second weights change the gradient but not the logits, so that the class stays.
        return self.one(images) + torch.where((parity & ~clean).unsqueeze(1), 3 * difference, 0)


class Careless(Attack):
    """An attack that leaves the ball and relies on the judge's projection."""

    knowledge: ClassVar[Knowledge] = "none"
    source: ClassVar[str] = "a test"

    def perturb(self, victim: Victim, images: Tensor, labels: Tensor, *, threat: ThreatModel, rng: SampleRng) -> Tensor:
        return images + 2 * float(threat.epsilon)


def _random(network: nn.Module, purpose: str = "weights") -> nn.Module:
    initialize(network, Rng(3).fork(purpose))
    return freeze(network)
