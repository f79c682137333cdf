"""The classifier and the images for the contract tests.

The classifier is tiny and has fixed initial weights; the images are random.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench import registry
from bench.core.compute.rng import Rng, SampleRng
from bench.core.schemas.protocol import Component
from model_zoo.build import classifier, freeze
from model_zoo.derivatives.surrogate import smooth_copy
from model_zoo.training.initial_weights import initialize
from tests.support.pictures import FOLDER

SIDE = 12
CLASSES = 4


def tiny_classifier(purpose: str) -> nn.Module:
    """An untrained network of four classes, normalisation inside, in train mode."""
    return _normalised(registry.load("architectures", "conv-small")(CLASSES, side=SIDE), purpose)


def residual_classifier(purpose: str) -> nn.Module:
    """An untrained WRN-10-1 of four classes, with batch normalisation, in train mode."""
    return _normalised(registry.load("architectures", "wide-resnet")(CLASSES, depth=10, width=1), purpose)


def _normalised(network: nn.Module, purpose: str) -> nn.Module:
    initialize(network, Rng(0).fork("tests", purpose))
    return classifier(network, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace published pictures by those of the tests."""
    monkeypatch.setenv("BENCH_WEIGHTS", FOLDER.name)


@pytest.fixture
def network() -> nn.Module:
    """The ReLU network in eval mode, parameters frozen, float32."""
    return freeze(tiny_classifier("network"))


@pytest.fixture
def smooth64() -> nn.Module:
    """A smooth network in float64, for precise derivatives."""
    return smooth_copy(freeze(tiny_classifier("network")), beta=3.0).double()


@pytest.fixture
def rng() -> SampleRng:
    """Streams of three samples."""
    return SampleRng(Rng(7).fork("tests"), ("a", "b", "c"))


@pytest.fixture
def images(rng: SampleRng) -> Tensor:
    """(3, 3, 12, 12) float32 in [0, 1)."""
    return rng.fork("images").uniform((3, SIDE, SIDE), 0, 1)


@pytest.fixture
def labels() -> Tensor:
    """(3,) int64."""
    return torch.tensor([2, 0, 3])


def instance(kind: registry.Kind, name: str) -> object:
    """Make a plug-in with default parameters, or examples where they have none."""
    from tests.contracts.parameters import example

    return registry.instantiate(kind, Component(name=name, params=example(registry.load(kind, name))))
