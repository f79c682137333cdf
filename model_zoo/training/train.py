"""Turn a recipe into weights, measured accuracies and an entry."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench import registry
from bench.core.compute.machine import hardware, has_bfloat16, pick_device
from bench.core.compute.rng import Rng
from bench.core.contracts import Dataset, Objective, Split
from bench.core.errors import UsageError
from bench.core.schemas.duration import in_words
from bench.core.schemas.entry import MeasuredAccuracy, ModelEntry, TrainingFacts, Weights
from bench.core.schemas.protocol import Component
from bench.core.schemas.recipe import Recipe
from bench.core.storage.files import remove_leftovers
from bench.core.storage.lease import lease
from model_zoo.build import build, classifier, construct
from model_zoo.hub import resolve
from model_zoo.logits import check_logits
from model_zoo.tensors import export_weights, read_weights
from model_zoo.training.budget import fitted
from model_zoo.training.data import fingerprint, partition, to_float
from model_zoo.training.initial_weights import initialize
from model_zoo.training.loop import CHECKPOINT, Progress, Training, as_begun, begin
from model_zoo.training.measure import TEST_STEPS, correct, robust_correct
from model_zoo.weights_file import write_entry

PER_CLASS = 10
"""Images of a rehearsal, of training and of testing."""


class Trained(NamedTuple):
    """What a finished training left in its folder."""

    entry: ModelEntry
    path: Path


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Where and how long a training may compute."""

    device: str = "auto"
    resume: bool = False
    """Whether to continue a checkpoint."""
    budget: float | None = None
    """Seconds from which the epochs follow, in place of the recipe's own."""
    deadline: float = math.inf
    """By `time.monotonic`: where a training is cut, at a checkpoint."""
    rehearsal: bool = False
    """Train on a few images only, to see that everything works. The results are not worth keeping."""
    parents: Mapping[str, Path] = field(default_factory=dict)
    """Entries of parents that no registry knows, by name."""


def train(recipe: Recipe, folder: Path, terms: Terms, progress: Progress) -> Trained:
    """Run a recipe to its end in `folder`, or continue its checkpoint.

    A budget decides the epochs once, at the first step: a checkpoint keeps them.

    Returns:
        The new model's entry, its weights beside it.
    Raises:
        OutOfTime: if the deadline came first.
        TooShort: if the budget does not hold the least training.
        Busy: if another process trains in the folder.
        UsageError: if the folder holds a checkpoint and `resume` is off, or the checkpoint is another recipe's.
        IntegrityError: if the checkpoint is damaged.
        ModelOutputError: if the loss diverges.
    """
    with lease(folder / "training.lease"):
        for name in (CHECKPOINT, "metrics.csv", f"{recipe.model}.safetensors", f"{recipe.model}.toml"):
            remove_leftovers(folder / name)
        return _train(recipe, folder, terms, progress)


def _train(recipe: Recipe, folder: Path, terms: Terms, progress: Progress) -> Trained:
    began, checkpoint, where = time.monotonic(), folder / CHECKPOINT, pick_device(terms.device)
    if checkpoint.exists() and not terms.resume:
        raise UsageError(f"expected an empty folder {folder}, got one with a checkpoint; continue it with --resume")
    dataset: Dataset = registry.instantiate("datasets", Component(name=recipe.dataset))
    objective: Objective = registry.instantiate("objectives", recipe.objective)
    splits = [dataset.load(name) for name in ("train", "test")]
    if terms.rehearsal:
        recipe, splits = rehearsed(recipe), [few(split) for split in splits]
    data, test = partition(splits[0], recipe), splits[1]
    network = _network(recipe, len(dataset.classes), terms.parents)
    model = classifier(network, dataset.mean, dataset.std)
    check_logits(model.eval(), to_float(data.train.images[:1]), len(dataset.classes))
    model.train()

    def start(wanted: Recipe) -> Training:
        return begin(wanted, model, data, objective, where, parent=recipe.parent is not None)

    if checkpoint.exists():
        training = start(as_begun(recipe, checkpoint))
        training.resume(checkpoint)
    elif terms.budget is not None and not terms.rehearsal:
        left = terms.budget - (time.monotonic() - began)
        training = start(fitted(recipe, start(recipe), left, len(test.labels)))
        training.budget = terms.budget
    else:
        training = start(recipe)
    if terms.resume and not checkpoint.exists():
        progress(f"no checkpoint in {folder}, so from the beginning", 0, training.steps)
    network.load_state_dict(training.run(folder, progress, terms.deadline))
    seconds = training.spent()
    weights = export_weights(network, folder / f"{recipe.model}.safetensors")
    facts = TrainingFacts(
        recipe=recipe.name,
        method=recipe.objective.name if training.step else "untrained",
        epochs=round(training.step / training.per_epoch, 2),
        seed=recipe.seed,
        hardware=hardware(),
        seconds=round(seconds, 1),
        data_sha256=fingerprint(data.train),
        differs=_differences(recipe, training),
    )
    entry = _entry(recipe, dataset, weights, facts)
    measured = measure(entry, folder / weights.file, test, where, progress)
    entry = entry.model_copy(update={"accuracy": measured})
    return Trained(entry, write_entry(entry, folder))


def rehearsed(recipe: Recipe) -> Recipe:
    """Return the recipe with one step on a few images."""
    watched = {"images": 2 * PER_CLASS, "pgd_images": min(4, recipe.validation.pgd_images)}
    validation = recipe.validation.model_copy(update=watched)
    return recipe.model_copy(update={"epochs": 0.1, "batch_size": 8, "validation": validation})


def few(split: Split) -> Split:
    """Return the first images per class."""
    chosen = torch.cat(
        [(split.labels == c).nonzero().flatten()[:PER_CLASS] for c in range(int(split.labels.max()) + 1)]
    )
    return Split(split.images[chosen], split.labels[chosen])


def _differences(recipe: Recipe, training: Training) -> str:
    if training.budget is None:
        return recipe.differs
    lasted = f"{training.recipe.epochs:.3g} epochs, which fit into {in_words(training.budget)}"
    return "; ".join(filter(None, (recipe.differs, f"{lasted}, in place of {recipe.epochs:g}")))


def measure(
    entry: ModelEntry, weights: Path, test: Split, device: torch.device, progress: Progress
) -> MeasuredAccuracy:
    """Measure clean and PGD-40 accuracy of exported weights.

    On a whole test set, at the radius that is usual for it in the literature.
    """
    model = build(entry, registry.load("architectures", entry.architecture.name), weights, device=device)
    epsilon = registry.load("datasets", entry.dataset).epsilon
    images = to_float(test.images)
    clean = correct(model, images, test.labels, device=device)
    robust = robust_correct(
        model,
        images,
        test.labels,
        epsilon=float(epsilon),
        step_size=float(epsilon) / 4,
        steps=TEST_STEPS,
        rng=Rng(0).fork("pgd40"),
        device=device,
        fast=partial(torch.autocast, device.type, torch.bfloat16, enabled=has_bfloat16(device)),
        progress=lambda done, total: progress("PGD-40 on the test set", done, total),
    )
    return MeasuredAccuracy(images=len(images), clean=_share(clean), pgd40=_share(robust), epsilon=epsilon)


def _share(answers: Tensor) -> float:
    return float(answers.double().mean())


def _network(recipe: Recipe, num_classes: int, parents: Mapping[str, Path]) -> nn.Module:
    build_network: Callable[..., nn.Module] = registry.load("architectures", recipe.architecture.name)
    network = construct(build_network, num_classes, recipe.architecture, whose=f"recipe {recipe.name}")
    if recipe.parent is not None:
        own = parents.get(recipe.parent)
        reference = f"file:{own}" if own else recipe.parent if ":" in recipe.parent else f"hub:{recipe.parent}"
        _start_from(reference, network, num_classes, recipe)
    return network


def _start_from(reference: str, network: nn.Module, num_classes: int, recipe: Recipe) -> None:
    """Give a network its parent's weights.

    Where the parent tells other classes apart, the last layer stays new.
    """
    found = resolve(reference)
    own = network.state_dict()
    if found.entry.num_classes == num_classes:
        network.load_state_dict(read_weights(found.path, own))
        return
    initialize(network, Rng(recipe.seed).fork("initialization"))
    build_network: Callable[..., nn.Module] = registry.load("architectures", recipe.architecture.name)
    theirs = build_network(found.entry.num_classes, **recipe.architecture.params).state_dict()
    weights = read_weights(found.path, theirs)
    network.load_state_dict({name: w for name, w in weights.items() if w.shape == own[name].shape}, strict=False)


def _entry(recipe: Recipe, dataset: Dataset, weights: Weights, facts: TrainingFacts) -> ModelEntry:
    return ModelEntry(
        name=recipe.model,
        title=recipe.title,
        control=recipe.control,
        architecture=recipe.architecture,
        dataset=recipe.dataset,
        num_classes=len(dataset.classes),
        weights=weights,
        mean=dataset.mean,
        std=dataset.std,
        training=facts,
        epsilon=recipe.objective.params.get("epsilon"),
        beta=recipe.objective.params.get("beta"),
        license="MIT",
        citation=recipe.citation,
        parent=recipe.parent,
        added=datetime.now(UTC).date(),
    )
