"""Architectures under attribution methods that may fail silently.

These methods fail when a module is reused or a sum is hidden.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from captum.attr import LRP, DeepLift
from captum.attr._utils.lrp_rules import EpsilonRule
from torch import Tensor, nn

from bench.core.compute.rng import Rng
from bench.core.compute.vision import models
from model_zoo.architectures import conv_small, resnet50
from model_zoo.architectures.torchvision import build as torchvision_build
from model_zoo.architectures.wide_resnet import Add
from model_zoo.build import classifier, freeze
from model_zoo.training.initial_weights import initialize
from tests.support.tiny import tiny_network

LABELS = torch.tensor([1, 7])


@pytest.fixture
def images() -> Tensor:
    return torch.rand((2, 3, 32, 32), generator=Rng(0).generator()).requires_grad_()


def separated_resnet18() -> nn.Module:
    """torchvision's network, whose blocks use one ReLU twice, in place.

    It has no pooling: captum's own rule is not complete for overlapping windows.
    """
    network = torchvision_build(10, model="resnet18")
    network.maxpool = nn.Identity()
    initialize(network, Rng(0))
    return network


@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize("make", [tiny_network, separated_resnet18])
def test_deeplift_is_complete(images: Tensor, make: Callable[[], nn.Module]) -> None:
    model = freeze(classifier(make(), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)))
    _, gap = DeepLift(model).attribute(images, torch.zeros_like(images), target=LABELS, return_convergence_delta=True)
    with torch.no_grad():
        rise = (model(images) - model(torch.zeros_like(images))).gather(1, LABELS.unsqueeze(1))
    assert gap.abs().max() < 1e-4 * rise.abs().max()


def test_relevance_is_conserved_where_nothing_has_a_bias(images: Tensor) -> None:
    """Check that the relevance of the pixels sums to the logit.

    A new network has no bias anywhere.
    """
    network = freeze(tiny_network())
    for module in network.modules():
        if isinstance(module, Add):
            module.rule = EpsilonRule()
    relevance = LRP(network).attribute(images, target=LABELS)
    logits = network(images).gather(1, LABELS.unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(relevance.sum((1, 2, 3)), logits, rtol=1e-3, atol=1e-5)


def test_resnet50_is_torchvisions_with_its_weights() -> None:
    theirs = models.resnet50(weights=None, num_classes=7)
    initialize(theirs, Rng(1))
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.get_buffer("running_mean").normal_(generator=Rng(2).generator())
    ours = resnet50.build(7)
    ours.load_state_dict(theirs.state_dict())
    pixels = torch.rand((2, 3, 64, 64), generator=Rng(3).generator())
    with torch.no_grad():
        assert torch.equal(ours.eval()(pixels), theirs.eval()(pixels))


def test_tensorflow_variables_are_laid_out_as_ours() -> None:
    """Compute the network's logits by definition.

    They are SAME convolutions of (row, column, in, out) kernels, features flattened row by row.
    """
    generator = torch.Generator().manual_seed(1)
    shapes = {"conv1": (4, 4, 3, 16), "conv2": (4, 4, 16, 32), "fc1": (2048, 100), "fc2": (100, 10)}
    variables = {f"weights_{layer}": torch.randn(shape, generator=generator) / 10 for layer, shape in shapes.items()}
    variables |= {
        f"biases_{layer}": torch.randn((1, shape[-1]), generator=generator) for layer, shape in shapes.items()
    }
    images = torch.rand((2, 3, 32, 32), generator=generator)
    features = images.permute(0, 2, 3, 1)
    for layer in ("conv1", "conv2"):
        padded = torch.nn.functional.pad(features, (0, 0, 1, 1, 1, 1))
        windows = padded.unfold(1, 4, 2).unfold(2, 4, 2)
        features = torch.einsum("nxyirc,rcio->nxyo", windows, variables[f"weights_{layer}"])
        features = (features + variables[f"biases_{layer}"]).relu()
    hidden = (features.flatten(1) @ variables["weights_fc1"] + variables["biases_fc1"]).relu()
    expected = hidden @ variables["weights_fc2"] + variables["biases_fc2"]

    arranged = conv_small.arrange(variables)
    params, names = conv_small.adopt({name: tuple(tensor.shape) for name, tensor in arranged.items()})
    assert params == {"channels": 3, "padding": 1, "side": 32}
    network = conv_small.build(10, **params)
    network.load_state_dict({str(names[name]): tensor for name, tensor in arranged.items()})
    torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-4)
