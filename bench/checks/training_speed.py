"""Time the training steps of a recipe on this machine."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.profiler import ProfilerActivity, profile

from bench import registry
from bench.checks.models import SMALL_SETS
from bench.checks.stopwatch import Stopwatch
from bench.core.compute.machine import has_bfloat16
from bench.core.contracts import Dataset, Split
from bench.core.schemas.protocol import Component
from bench.core.schemas.recipe import Recipe
from model_zoo.build import classifier, construct
from model_zoo.training.data import Partition
from model_zoo.training.loop import Training, begin


@dataclass(frozen=True)
class TrainingSpeed:
    """Cost of a recipe's training steps, the shortest of some repeats."""

    recipe: str
    objective: str
    batch_size: int
    precision: str
    """Of first-order passes, as the recipe has it and the processor can."""
    images_per_second: float
    convolution_share: float
    """Of a step's time, forward and backward."""

    @property
    def epoch_seconds(self) -> float:
        """Of 50,000 images, validation apart."""
        return 50_000 / self.images_per_second


def measure_training(recipe_name: str, watch: Stopwatch) -> TrainingSpeed:
    """Time training steps of a recipe.

    The network is untrained, and the steps see the same few images again and again.

    Raises:
        UsageError: if a name is unknown.
    """
    training = _training(recipe_name, watch.device)
    recipe = training.recipe
    training.one_step()
    seconds = watch.seconds(training.one_step)
    short = recipe.precision == "bfloat16" and has_bfloat16(watch.device)
    return TrainingSpeed(
        recipe=recipe.name,
        objective=recipe.objective.name,
        batch_size=recipe.batch_size,
        precision="bfloat16" if short else "float32",
        images_per_second=recipe.batch_size / seconds,
        convolution_share=_convolution_share(training),
    )


def _training(recipe_name: str, device: torch.device) -> Training:
    recipe: Recipe = registry.load("recipes", recipe_name)
    dataset: Dataset = registry.instantiate("datasets", Component(name=recipe.dataset))
    small = Component(name=SMALL_SETS.get(recipe.dataset, recipe.dataset))
    images: Split = registry.instantiate("datasets", small).load("test")
    chosen = torch.arange(recipe.batch_size) % len(images.labels)
    split = Split(images.images[chosen], images.labels[chosen])
    build_network = registry.load("architectures", recipe.architecture.name)
    network = construct(build_network, len(dataset.classes), recipe.architecture, whose=f"recipe {recipe.name}")
    model = classifier(network, dataset.mean, dataset.std)
    objective = registry.instantiate("objectives", recipe.objective)
    return begin(recipe, model, Partition(split, split), objective, device, parent=False)


def _convolution_share(training: Training) -> float:
    """Return the share of convolutions in the profiled time of a step."""
    on_gpu = training.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiler:
        float(training.one_step())
    operators = [event for event in profiler.key_averages() if event.device_type.name == "CPU"]

    def seconds(event: object) -> float:
        return float(getattr(event, "self_device_time_total" if on_gpu else "self_cpu_time_total"))

    return sum(seconds(e) for e in operators if "convolution" in e.key) / sum(map(seconds, operators))
