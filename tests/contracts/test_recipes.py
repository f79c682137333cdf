"""The contract of every recipe.

It is listed, everything that it names exists, and its parent model has a recipe or an entry.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

import model_zoo
from bench import registry
from bench.cli import bench as command
from bench.core.schemas.protocol import Component
from bench.core.schemas.recipe import Recipe

FOLDER = Path(model_zoo.__file__).parent / "training" / "recipes"
RECIPES = registry.names("recipes")


@cache
def loaded(name: str) -> Recipe:
    recipe: Recipe = registry.load("recipes", name)
    return recipe


def makers(model: str) -> list[Recipe]:
    """Recipes that make a model of this name."""
    return [recipe for recipe in map(loaded, RECIPES) if recipe.model == model]


def test_the_command_lists_every_file_with_its_description() -> None:
    rows = json.loads(CliRunner().invoke(command, ["list", "recipes", "--json"], catch_exceptions=False).stdout)
    listed = {row["name"]: row["summary"] for row in rows["recipes"]}
    assert sorted(listed) == sorted(path.stem for path in FOLDER.iterdir())
    assert listed == {name: loaded(name).description for name in listed}


@pytest.mark.parametrize("name", RECIPES)
def test_dataset_architecture_and_objective_exist_and_take_the_parameters(name: str) -> None:
    recipe = loaded(name)
    registry.instantiate("datasets", Component(name=recipe.dataset))
    registry.instantiate("objectives", recipe.objective)
    assert recipe.architecture.name in registry.names("architectures")


@pytest.mark.parametrize("name", [name for name in RECIPES if loaded(name).parent is not None])
def test_a_parent_is_made_by_a_recipe_or_belongs_to_a_zoo(name: str) -> None:
    recipe = loaded(name)
    assert recipe.parent is not None
    zoo, _, within = recipe.parent.partition(":")
    if within:
        assert registry.load("zoos", zoo)().canonical(within) == within, "write the full name: it pins the weights"
        return
    parents = makers(recipe.parent)
    assert parents, f"no recipe makes {recipe.parent}"
    same = [p for p in parents if (p.dataset, p.architecture) == (recipe.dataset, recipe.architecture)]
    assert same, f"no recipe makes a {recipe.parent} of {recipe.architecture} for {recipe.dataset}"


@pytest.mark.parametrize("name", RECIPES)
def test_ancestors_end(name: str) -> None:
    seen, recipe = {name}, loaded(name)
    while recipe.parent is not None and ":" not in recipe.parent:
        recipe = next(p for p in makers(recipe.parent) if p.architecture == recipe.architecture)
        assert recipe.name not in seen, f"{name} descends from itself"
        seen.add(recipe.name)


def test_no_two_recipes_are_the_same_training() -> None:
    by_identity: dict[str, list[str]] = {}
    for name in RECIPES:
        by_identity.setdefault(loaded(name).identity, []).append(name)
    assert not [names for names in by_identity.values() if len(names) > 1]
