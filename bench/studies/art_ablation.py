"""Accuracy and robustness of ART with one setting changed at a time."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench import registry
from bench.api import Result, benchmark
from bench.core.compute.machine import pick_device
from bench.core.compute.rng import Rng
from bench.core.contracts import Objective
from bench.core.contracts.study import Finding, Study, Workplace
from bench.core.errors import ModelOutputError, UsageError
from bench.core.schemas.protocol import Component
from bench.core.schemas.recipe import Recipe, Schedule
from bench.core.schemas.study import Card, Key, Point
from bench.studies._ablation import FIGURES, OBJECTIVES, OWN, label_of, places_of, settings_of
from bench.studies._registered import dataset_of, network_of
from leaderboard.records.statistics import paired_interval
from model_zoo.build import classifier, construct
from model_zoo.training.data import partition, to_float
from model_zoo.training.loop import begin
from model_zoo.training.measure import correct, robust_correct

DATASET = "cifar10"
PROTOCOL, ATTACK = "cifar10-gradient-v1", "ifia-topk"
METRICS = {"kendall": "Kendall", "topk-intersection": "top-k intersection"}
ACCURACIES = ("accuracy-clean", "accuracy-pgd")
PGD_STEPS, PGD_STEP_SIZE = 40, 2 / 255
SECONDS = 20.0
"""Between two signs of life while an attack runs."""


@dataclass(frozen=True, kw_only=True)
class ArtAblation(Study):
    """Train ART with other objectives, weights, sharpnesses and steps.

    Every network starts from the same parent and sees the same number of images. One setting differs from ART's
    at a time. `ifia-topk` attacks the gradient maps of each; PGD with 40 steps attacks its predictions. The numbers
    `...-minus-art` are mean differences from ART with the same seed, image by image, with 95 % intervals.

    Source:
        Singh et al. 2020, Figures 8 and 9, Table 5. Reference code: nupurkmr9/Attributional-Robustness, cifar/.
        Differs: fine-tuned from one parent for fewer images; WRN-28-1; gradient maps instead of integrated
        gradients; "Eq. 2" and the other triplet as the objectives `map-change` and `art-perturbed` say.
    """

    version: ClassVar[int] = 1
    selects: ClassVar[frozenset[str]] = frozenset({"objectives", "weights", "betas", "steps", "seeds"})

    parent: str = "natural-wrn28"
    """Registered network of CIFAR-10 that every training starts from, such as natural-wrn28 or at2-wrn28."""
    objectives: tuple[str, ...] = tuple(OBJECTIVES)
    """Objectives at ART's weight, sharpness and steps."""
    weights: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0)
    """Weights of ART's triplet."""
    betas: tuple[float, ...] = (1.0, 10.0, 50.0, 200.0)
    """Sharpnesses of ART's softplus."""
    steps: tuple[int, ...] = (1, 3, 5)
    """Steps of ART's search."""
    seeds: int = Field(default=1, ge=1)
    """Number of trainings for each setting."""
    train_images: int = Field(default=1920, ge=2)
    """Images that each training sees, repetitions counted."""
    batch_size: int = Field(default=48, ge=2)
    """Images per step of a training."""
    peak: float = Field(default=0.003, gt=0)
    """Peak learning rate, which falls linearly to zero. With 0.01 a natural network forgets most classes."""
    images: int = Field(default=50, ge=2)
    """Test images whose maps are attacked."""
    test_images: int = Field(default=1000, ge=1)
    """Test images whose classes are asked."""
    pgd_images: int = Field(default=200, ge=1)
    """Test images whose classes PGD attacks."""

    @property
    def card(self) -> Card:
        """Return the question and its figures."""
        return Card(
            study="art-ablation",
            version=self.version,
            title="Ablations of ART",
            asks="Which part of ART makes maps robust: its objective, its weight, its sharpness or its steps?",
            source="Singh et al. 2020, Figures 8 and 9, Table 5",
            differs="Fine-tuned from one network, natural or lightly adversarial, with equal budgets; gradient maps.",
            figures=FIGURES,
        )

    def pieces(self) -> list[Key]:
        """Return one key per setting and seed, each setting once.

        Raises:
            UsageError: if an objective is none of the paper's.
        """
        if unknown := set(self.objectives) - OBJECTIVES.keys():
            known, came = ", ".join(OBJECTIVES), ", ".join(sorted(unknown))
            raise UsageError(f"expected objectives of {known}, got {came}; correct --set objectives")
        settings: list[Key] = [
            *({**OWN, "objective": objective} for objective in self.objectives),
            *({**OWN, "weight": weight} for weight in self.weights),
            *({**OWN, "beta": beta} for beta in self.betas),
            *({**OWN, "steps": steps} for steps in self.steps),
        ]
        distinct = {tuple(setting.items()): setting for setting in settings}.values()
        return [{**setting, "seed": seed} for seed in range(self.seeds) for setting in distinct]

    def models(self, piece: Key) -> tuple[str, ...]:  # noqa: ARG002 - all pieces start from one network
        """Return the network that every training starts from."""
        return (self.parent,)

    def measure(self, piece: Key, workplace: Workplace) -> Finding:
        """Train one network, then attack its maps and its predictions."""
        found = self._measured(piece, workplace)
        numbers = {name: float(values.mean()) for name, values in found.items()}
        if settings_of(piece) != OWN:
            numbers |= _minus_art(found, self._measured({**OWN, "seed": piece["seed"]}, workplace))
        points = [
            Point(figure=figure, series=METRICS[name], x=x, y=value)
            for figure, x in places_of(piece).items()
            for name in METRICS
            for value in found[name].tolist()
        ]
        own, series = {"y": numbers["kendall"], "label": label_of(piece)}, str(piece["objective"])
        points += [Point(figure=name, series=series, x=numbers[name], **own) for name in ACCURACIES]
        return Finding(points, numbers)

    def _measured(self, piece: Key, workplace: Workplace) -> dict[str, pd.Series[float]]:
        """Return the values of one network by image.

        They are the metrics of correctly classified images, and for more test images whether they keep their class,
        clean and under PGD.
        """
        identity = [self.version, {k: v for k, v in asdict(self).items() if k not in self.selects}, piece]
        weights = network_of(self.parent, DATASET).entry.weights.sha256

        def make() -> dict[str, Tensor]:
            model = self._trained(piece, workplace)
            kept = _correct(self._attacked(model, workplace).rows)
            places = {"places": torch.tensor(kept.index.to_numpy(int))}
            metrics = {name: torch.tensor(kept[name].to_numpy(float)) for name in METRICS}
            return {**places, **metrics, **self._accuracy(model, workplace)}

        found = workplace.once("measured", [*identity, weights], make)
        places = found.pop("places").tolist()
        series = {
            name: pd.Series(values.double().numpy(), places if name in METRICS else None)
            for name, values in found.items()
        }
        return {name: values.dropna() for name, values in series.items()}

    def _trained(self, piece: Key, workplace: Workplace) -> nn.Module:
        """Return the network of one setting, in eval mode."""
        found, device, dataset = network_of(self.parent, DATASET), pick_device(workplace.device), dataset_of(DATASET)
        build = registry.load("architectures", found.entry.architecture.name)
        network = construct(build, len(dataset.classes), found.entry.architecture, whose="study art-ablation")
        network.load_state_dict(found.on(device)[1].state_dict())  # type: ignore[index]
        split, recipe = dataset.load("train"), self._recipe(piece)
        data = partition(split, recipe)
        recipe = recipe.model_copy(update={"epochs": self.train_images / len(data.train.labels)})
        objective: Objective = registry.instantiate("objectives", recipe.objective)
        model = classifier(network, dataset.mean, dataset.std)
        training = begin(recipe, model, data, objective, device, parent=True)
        for _ in range(training.steps):
            training.one_step()
            training.step += 1
            workplace.beat()
        return training.model.eval()

    def _recipe(self, piece: Key) -> Recipe:
        chosen = OBJECTIVES[str(piece["objective"])]
        settings = {"weight": piece["weight"], "beta": piece["beta"], "steps": piece["steps"]}
        return Recipe(
            name="art-ablation",
            model="ablated",
            title="Ablation of ART",
            description="A network of the study.",
            dataset=DATASET,
            architecture=network_of(self.parent, DATASET).entry.architecture,
            objective=Component(name=chosen.name, params={**chosen.params, **settings}),
            epochs=1.0,
            batch_size=self.batch_size,
            weight_decay=2e-4,
            batch_norm="frozen",
            schedule=Schedule(peak=self.peak, warmup=0.1),
            seed=int(piece["seed"]),
        )

    def _attacked(self, model: nn.Module, workplace: Workplace) -> Result:
        """Attack the gradient maps, with signs of life."""
        normalize, network = model.children()
        mean, std = (getattr(normalize, name).flatten().tolist() for name in ("mean", "std"))
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(
                benchmark, network, ATTACK, PROTOCOL, mean=mean, std=std, limit=self.images, device=workplace.device
            )
            while not wait([future], timeout=SECONDS).done:
                workplace.beat()
            return future.result()

    def _accuracy(self, model: nn.Module, workplace: Workplace) -> dict[str, Tensor]:
        """Return which test images are classified correctly, clean and under PGD."""
        split, device = dataset_of(DATASET).load("test"), pick_device(workplace.device)
        images, labels = to_float(split.images[: self.test_images]), split.labels[: self.test_images]
        clean = correct(model, images, labels, device=device)
        robust = robust_correct(
            model,
            images[: self.pgd_images],
            labels[: self.pgd_images],
            epsilon=8 / 255,
            step_size=PGD_STEP_SIZE,
            steps=PGD_STEPS,
            rng=Rng(0).fork("art-ablation", "pgd"),
            device=device,
            progress=lambda _done, _total: workplace.beat(),
        )
        return {"accuracy-clean": clean.cpu(), "accuracy-pgd": robust.cpu()}


def _correct(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of correctly classified images whose maps are not constant."""
    kept = rows[rows["correct"] & rows["kendall"].notna()]
    if kept.empty:
        raise ModelOutputError(
            "expected a network that classifies some attacked images correctly and whose maps are not constant, got "
            f"none of {len(rows)}; lower the peak of the learning rate, or attack more images"
        )
    return kept


def _minus_art(found: Mapping[str, pd.Series[float]], art: Mapping[str, pd.Series[float]]) -> dict[str, float]:
    """Return mean paired differences from ART, with 95 % intervals.

    Fewer than two common images have no interval, so the number is left out.
    """
    numbers: dict[str, float] = {}
    for name, values in found.items():
        gains = np.asarray((values - art[name]).dropna(), np.float64)
        if len(gains) < 2:
            continue
        low, high = paired_interval(gains)
        name += "-minus-art"  # noqa: PLW2901 - the same number's name
        numbers |= {name: float(gains.mean()), f"{name}-low": low, f"{name}-high": high}
    return numbers
