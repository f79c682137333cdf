"""Every registered recipe fits its data and makes a step.

Everything that recipes, protocols and entries name exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Split
from bench.core.schemas.protocol import Component
from bench.core.schemas.recipe import Recipe
from model_zoo.build import classifier
from model_zoo.training import loop
from model_zoo.training.data import partition
from tests.support.trainings import CPU, made, quiet

SIDES = {
    "mnist": (1, 28),
    "usps": (1, 16),
    "flowers": (3, 128),
    "flowers17": (3, 128),
    "tiny-imagenet-10": (3, 64),
    "cub": (3, 224),
}
"""Channels and side of the datasets that have not 3 and 32."""


@pytest.mark.parametrize("name", registry.names("recipes"))
def test_a_recipe_names_things_that_exist_and_fit(name: str) -> None:
    wanted: Recipe = registry.load("recipes", name)
    assert logits_shape(wanted.architecture.model_dump_json(), wanted.dataset) == (2, classes_of(wanted.dataset))


@cache
def logits_shape(architecture: str, dataset: str) -> tuple[int, ...]:
    """Return the shape of a network's logits for two images."""
    wanted = Component.model_validate_json(architecture)
    with torch.device("meta"):
        network = registry.load("architectures", wanted.name)(classes_of(dataset), **wanted.params)
        return tuple(network(torch.empty(2, *shape_of(dataset))).shape)


def classes_of(dataset: str) -> int:
    return len(registry.load("datasets", dataset).classes)


@pytest.mark.parametrize("name", [name for name in registry.names("recipes") if not name.endswith("-resnet50")])
def test_a_recipe_makes_a_step(name: str, tmp_path: Path) -> None:
    """Make one step with the recipe's objective and precision.

    The rate is its highest. Loops are short; images are small, and so is a wide network.
    """
    wanted: Recipe = registry.load("recipes", name)
    made(wanted)  # its own loops are allowed
    channels, side, _ = shape_of(wanted.dataset)
    wide = wanted.architecture.name == "wide-resnet"
    small = {"depth": 10, "width": 1} if wide else {}
    sister = wanted.architecture.model_copy(update={"params": wanted.architecture.params | small})
    brief = shortened(wanted, 2).model_copy(update={"architecture": sister})
    one_step(brief, (channels, min(side, 16 if wide else 32)), tmp_path)


def shortened(wanted: Recipe, most: int) -> Recipe:
    """Return a recipe with at most `most` passes per loop."""
    params = wanted.objective.params
    loops = params.keys() & {"steps", "pgd_steps", "nodes", "search_nodes"}
    brief = {**params, **{name: min(params[name], most) for name in loops}}
    return wanted.model_copy(update={"objective": wanted.objective.model_copy(update={"params": brief})})


PAPER_SIZE = [name for name in registry.names("recipes") if name.endswith(("-wrn28-10", "-wrn40-2", "-resnet50"))]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER_SIZE)
def test_a_recipe_of_the_papers_size_makes_a_step_on_two_images(name: str, tmp_path: Path) -> None:
    """Train the whole network at its whole size.

    Loops and bfloat16, which small networks run in full, are cut short.
    """
    wanted: Recipe = registry.load("recipes", name)
    unwatched = wanted.validation.model_copy(update={"pgd_images": 0})
    brief = shortened(wanted, 1).model_copy(update={"validation": unwatched, "precision": "float32"})
    one_step(brief, shape_of(wanted.dataset)[:2], tmp_path)


def one_step(wanted: Recipe, image: tuple[int, int], folder: Path) -> None:
    """Train on one batch of two random images.

    They have `image` channels and side. The last layer must move and be finite.
    """
    dataset = registry.load("datasets", wanted.dataset)
    classes, (channels, side) = len(dataset.classes), image
    count = 2 * classes
    images = torch.randint(256, (count, channels, side, side), generator=Rng(0).generator(), dtype=torch.uint8)
    network = registry.load("architectures", wanted.architecture.name)(classes, **wanted.architecture.params)
    validation = wanted.validation.model_copy(update={"images": 10, "pgd_images": min(2, wanted.validation.pgd_images)})
    schedule = wanted.schedule.model_copy(update={"warmup": 0.0})
    brief = wanted.model_copy(update={"batch_size": 2, "epochs": 0.01, "validation": validation, "schedule": schedule})
    data = partition(Split(images, torch.arange(count) % classes), brief)
    once = loop.begin(brief, classifier(network, dataset.mean, dataset.std), data, made(wanted), CPU, parent=False)
    last = [parameter for parameter, _ in once.network.named_parameters()][-2]
    before = once.network.state_dict()[last].clone()
    once.steps = 1
    after = once.run(folder, quiet)
    assert all(torch.isfinite(weight).all() for weight in after.values())
    assert not torch.equal(after[last], before)


def shape_of(dataset: str) -> tuple[int, int, int]:
    channels, side = SIDES.get(dataset, (3, 32))
    return channels, side, side


def test_components_of_protocols_and_entries_exist() -> None:
    for name in registry.names("protocols"):
        protocol = registry.load("protocols", name)
        named: dict[registry.Kind, Sequence[Component]] = {
            "attacks": protocol.attacks,
            "metrics": protocol.metrics,
            "attributions": (protocol.attribution, protocol.search_attribution),
            "datasets": (Component(name=protocol.samples.source), Component(name=protocol.samples.dataset)),
        }
        for kind, components in named.items():
            for component in components:
                registry.instantiate(kind, component)
    for name in registry.names("models"):
        entry = registry.load("models", name)
        assert entry.architecture.name in registry.names("architectures")
        assert entry.training.recipe is None or entry.training.recipe in registry.names("recipes")


@pytest.mark.parametrize(
    ("key", "text"),
    [("title", "a\x1f"), ("title", "a\nb"), ("citation", "\x1f"), ("differs", "\x1b[2J"), ("differs", "a" * 4001)],
)
def test_text_that_no_entry_may_hold_is_refused_before_the_training(key: str, text: str) -> None:
    content = registry.load("recipes", "natural-wrn28-1").model_dump(mode="json")
    with pytest.raises(ValidationError, match=key):
        Recipe.model_validate(content | {key: text})
