"""Chooses the models whose speed is measured."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from bench import registry
from bench.core.compute.rng import Rng
from bench.core.contracts import Zoo
from bench.core.errors import UsageError
from bench.core.schemas.entry import ModelEntry, TrainingFacts
from bench.core.schemas.protocol import Protocol
from bench.core.schemas.recipe import Recipe
from bench.core.storage.folders import cache_folder
from model_zoo.build import construct
from model_zoo.imported import keep
from model_zoo.tensors import export_weights
from model_zoo.training.initial_weights import initialize
from model_zoo.weights_file import write_entry

UNTRAINED = "untrained:"
"""Prefix of a reference to a network of another library, such as timm:NAME, whose weights are not needed."""

USUAL = "art-wrn28"
"""Model that is timed by default where it fits."""


def usual_model(protocol_name: str) -> str:
    """Return the model that is timed under a protocol by default.

    It is `art-wrn28` or, for other data, the first one of the protocol's reference set or of its data set by name.

    Raises:
        UsageError: if no registered model fits the protocol.
    """
    protocol: Protocol = registry.load("protocols", protocol_name)
    wanted = protocol.models_of or protocol.samples.dataset
    for name in (USUAL, *protocol.reference, *registry.names("models")):
        entry: ModelEntry = registry.load("models", name)
        if entry.dataset == wanted and entry.contends:
            return f"hub:{name}"
    raise UsageError(f"expected a registered model of {wanted} for {protocol.key}, got none; name one with --model")


def of_recipe(recipe_name: str) -> str:
    """Return the reference of a recipe's untrained network.

    Its entry and weights are written to the cache folder.
    """
    recipe: Recipe = registry.load("recipes", recipe_name)
    dataset = registry.load("datasets", recipe.dataset)
    build_network = registry.load("architectures", recipe.architecture.name)
    network = construct(build_network, len(dataset.classes), recipe.architecture, whose=f"recipe {recipe.name}")
    initialize(network, Rng(0).fork("speed"))
    folder = cache_folder() / "speed"
    entry = ModelEntry(
        name=recipe.name,
        title=f"The network of the recipe {recipe.name}, untrained",
        architecture=recipe.architecture,
        dataset=recipe.dataset,
        num_classes=len(dataset.classes),
        weights=export_weights(network, folder / f"{recipe.name}.safetensors"),
        mean=dataset.mean,
        std=dataset.std,
        training=TrainingFacts(method="untrained"),
        license="MIT",
        added=datetime.now(UTC).date(),
    )
    return f"file:{write_entry(entry, folder)}"


def of_library(reference: str) -> str:
    """Return the reference of another library's untrained network.

    Its entry and random weights are written to the cache folder.

    Args:
        reference: `ZOO:NAME`, such as timm:vit_small_patch16_224.
    Raises:
        UsageError: if the library is unknown, or has no such network.
    """
    scheme, _, name = reference.partition(":")
    zoo: Zoo = registry.load("zoos", scheme)()
    canonical = zoo.canonical(name)
    stem = re.sub(r"[^a-z0-9]+", "-", f"untrained {scheme} {canonical}".lower()).strip("-")
    found = zoo.untrained(canonical)
    return f"file:{keep(found, reference, stem, cache_folder() / 'speed').path.with_suffix('.toml')}"
