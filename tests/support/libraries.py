"""Small stand-ins of libraries of networks."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from types import ModuleType, SimpleNamespace

import torch.nn.functional as F
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from model_zoo.training.initial_weights import initialize

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)


class Small(nn.Module):
    """A classifier as other libraries write it.

    It has one ReLU in two places, the second time as a function.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, num_classes)
        self.num_classes = num_classes
        self.brightness = 1.0

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.relu(self.conv(x * self.brightness)) - 0.1)
        return self.head(x.mean((2, 3)))


def trained(num_classes: int = 10) -> Small:
    network = Small(num_classes)
    initialize(network, Rng(3))
    return network


class FakeTimm(ModuleType):
    """timm's functions that we call, over two networks."""

    def __init__(self) -> None:
        super().__init__("timm")
        self.loaded = 0
        self.one_size = False
        self.make: Callable[[], nn.Module] = trained

    def create_model(self, name: str, *, pretrained: bool = False, num_classes: int | None = None) -> nn.Module:
        if name.split(".", maxsplit=1)[0] != "small":
            raise RuntimeError(f"Unknown model ({name})")
        self.loaded += pretrained
        network = self.make() if pretrained else Small(num_classes or 10)
        about = {"input_size": (3, 32, 32), "mean": MEAN, "std": STD, "tag": "demo", "license": "apache-2.0"}
        vars(network)["pretrained_cfg"] = about
        return network

    def is_model(self, name: str) -> bool:
        return name in {"small", "bare"}

    def is_model_pretrained(self, name: str) -> bool:
        return name in {"small", "small.demo"}

    def list_models(self) -> list[str]:
        return ["small", "bare"]

    def get_pretrained_cfg(self, name: str) -> SimpleNamespace:
        return SimpleNamespace(tag="demo", num_classes=10, input_size=(3, 32, 32), fixed_input_size=self.one_size)


class BenchmarkDataset(Enum):
    """RobustBench's names of data sets."""

    cifar_10 = "cifar10"
    cifar_100 = "cifar100"
    imagenet = "imagenet"


class ThreatModel(Enum):
    """RobustBench's names of threats."""

    Linf = "Linf"
    L2 = "L2"
    corruptions = "corruptions"
