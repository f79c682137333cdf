"""The registered controls are what they are said to be."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from bench import registry
from bench.attributions.gradient import Gradient
from bench.core.contracts import Split
from bench.core.heatmap import reduce
from bench.core.protocol import Component
from bench.core.rng import Rng, SampleRng
from bench.diagnostics import contrast
from model_zoo.build import build, classifier
from model_zoo.hub import resolve
from model_zoo.training.loop import begin, initialize, partition

CONTROLS = ("natural-constant-map", "natural-linear", "untrained-wrn28")
CPU = torch.device("cpu")


def gradient_maps(name: str) -> torch.Tensor:
    """(4, 32, 32) heatmaps of the gradient of class 0 at four random images."""
    entry, _, path = resolve(f"hub:{name}", partial(registry.load, "models"))
    model = build(entry, registry.load("architectures", entry.architecture.name), path, device=CPU)
    rng = SampleRng(Rng(0), ("a", "b", "c", "d"))
    images, labels = rng.uniform((3, 32, 32), 0, 1), torch.zeros(4, dtype=torch.int64)
    return reduce(Gradient().attribute(model, images, labels, rng=rng), "sum-of-abs")


def test_controls_are_marked_and_nothing_else_is() -> None:
    entries = {name: registry.load("models", name) for name in registry.names("models")}
    assert {name for name, entry in entries.items() if entry.control} == set(CONTROLS)
    for name in CONTROLS:
        recipe = registry.load("recipes", entries[name].training.recipe)
        assert (recipe.control, recipe.model) == (True, name)


def test_the_linear_model_s_gradient_map_is_the_same_for_every_image_and_varies_over_pixels() -> None:
    maps = gradient_maps("natural-linear")
    torch.testing.assert_close(maps, maps[:1].expand_as(maps))
    assert (contrast(maps) > 0.1).all()


def test_the_constant_map_shows_nothing() -> None:
    maps = gradient_maps("natural-constant-map")
    assert (maps > 0).all()
    assert (contrast(maps) < 1e-6).all()


def test_the_untrained_network_is_the_start_of_its_recipe(tmp_path: Path) -> None:
    recipe = registry.load("recipes", "untrained-wrn28-1")
    network = registry.load("architectures", "wide-resnet")(10, **recipe.architecture.params)
    images = torch.zeros((2000, 3, 1, 1), dtype=torch.uint8)
    data = partition(Split(images, torch.arange(2000) % 10), recipe)
    objective = registry.instantiate("objectives", Component(name="natural"))
    training = begin(recipe, classifier(network, (0.5,) * 3, (0.5,) * 3), data, objective, CPU, parent=False)
    weights = training.run(tmp_path, lambda *_: pytest.fail("expected no step"))
    assert training.step == 0
    initialize(network, Rng(recipe.seed).fork("initialization"))
    entry, _, path = resolve("hub:untrained-wrn28", partial(registry.load, "models"))
    registered = build(entry, registry.load("architectures", "wide-resnet"), path, device=CPU)[1].state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(weights[name], tensor)
        torch.testing.assert_close(registered[name].to(tensor), tensor, rtol=1e-3, atol=1e-4)
