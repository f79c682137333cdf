"""A recipe, data and a network small enough for tests."""

from __future__ import annotations

import torch
from torch import Tensor

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Objective, Split
from bench.core.schemas.recipe import Recipe
from model_zoo.build import classifier
from model_zoo.training import loop
from model_zoo.training.data import partition

CPU = torch.device("cpu")
OBJECTIVES = {
    "natural": {},
    "pgd": {"epsilon": "8/255", "step_size": "4/255", "steps": 2},
    "art": {"steps": 1, "top_k": 20},
}


def random_split(count: int, classes: int = 3, side: int = 8) -> Split:
    generator = Rng(5).fork("images", count).generator()
    images = torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)
    return Split(images, torch.arange(count) % classes)


def recipe(objective: str = "natural", **changes: object) -> Recipe:
    content = {
        "name": "tiny",
        "model": "tiny",
        "title": "Tiny",
        "description": "for tests",
        "dataset": "cifar10",
        "architecture": {"name": "wide-resnet", "params": {"depth": 10, "width": 1}},
        "objective": {"name": objective, "params": OBJECTIVES[objective]},
        "epochs": 2.5,
        "batch_size": 6,
        "schedule": {"peak": 0.1, "warmup": 0.2},
        "augmentation": {"crop_padding": 2},
        "validation": {"images": 10, "pgd_images": 4, "select": "accuracy"},
    }
    return Recipe.model_validate(content | changes)


def training(wanted: Recipe, objective: Objective | None = None) -> loop.Training:
    network = registry.load("architectures", "wide-resnet")(3, depth=10, width=1)
    model = classifier(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    data = partition(random_split(34), wanted)
    return loop.begin(wanted, model, data, objective or made(wanted), CPU, parent=False)


def made(wanted: Recipe) -> Objective:
    objective: Objective = registry.instantiate("objectives", wanted.objective)
    return objective


def quiet(text: str, done: int, total: int) -> None:
    """Show no progress."""


def same_tensors(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert not [name for name in first if not torch.equal(first[name], second[name])]
