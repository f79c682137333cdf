"""Accuracy of networks retrained without the pixels that maps call important."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from bench import registry
from bench.core.compute.heatmap import reduce
from bench.core.compute.machine import pick_device
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import AttributionMethod
from bench.core.contracts.study import Finding, Study, Workplace
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component
from bench.core.schemas.recipe import Augmentation, Recipe, Schedule
from bench.core.schemas.study import Card, Figure, Key, Point
from bench.studies._gallery import gallery
from bench.studies._registered import dataset_of, network_of
from bench.studies._removal import Halves, area, edges, first_images, fitting, removal_order, retrained, without
from model_zoo.training.data import to_float

CONTROLS = ("random", "edges")
"""Orders of pixels that need no network: at random, and by Sobel's gradient of the image."""

NODES = ("integrated-gradients", "smoothgrad")
"""Attributions that take a number of nodes."""

WAYS = {"roar": True, "kar": False}
"""Whether the most important pixels are removed, by figure."""

BATCH = 40
"""Images that are explained between two signs of life."""


@dataclass(frozen=True, kw_only=True)
class Retrain(Study):
    """Remove pixels by importance, retrain and measure the accuracy.

    The most important (ROAR) or the least important (KAR) pixels of training and test images take the data set's mean
    colour, and a new network is trained. If a map finds what networks learn from, removing the most important pixels
    costs more accuracy than removing random ones, and removing the least important costs less. The score is the area
    between both curves.

    Source:
        Kim, Seo, Jeon 2019, section 3.2; Hooker, Erhan, Kindermans, Kim 2019. Reference code:
        1202kbs/Robustness-and-Interpretability.
        Differs: a smaller network is retrained on the first images of the set, by SGD with shuffling; gradients of the
        logit instead of the cross-entropy; the random order removes exactly the share, instead of a Bernoulli mask, and
        differs per seed; at share 1 the accuracy is taken as that of guessing.
    """

    version: ClassVar[int] = 1
    selects: ClassVar[frozenset[str]] = frozenset({"networks", "attributions", "seeds"})

    dataset: str = "mnist"
    """Image set, on which the networks were trained."""
    networks: tuple[str, ...] = ("natural-small-cnn", "at-0.1-small-cnn", "at-0.3-small-cnn")
    """Registered networks whose attributions order the pixels."""
    attributions: tuple[str, ...] = (
        "gradient", "input-x-gradient", "random", "edges", "integrated-gradients", "smoothgrad",
    )  # fmt: skip
    """Attribution methods and controls: `random` and `edges` need no network."""
    seeds: int = Field(default=3, ge=1)
    """Number of networks that are retrained for each curve point."""
    shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7, 0.9)
    """Shares of the pixels that are removed, between 0 and 1."""
    train_images: int = Field(default=2000, ge=1)
    """The first training images of the set that are used."""
    test_images: int = Field(default=1000, ge=1)
    """The first test images of the set that are used."""
    nodes: int = Field(default=10, ge=1)
    """Nodes per image of integrated gradients and SmoothGrad."""
    architecture: str = "conv-small"
    """Architecture of the retrained networks."""
    architecture_params: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the architecture; channels and side are taken from the images."""
    epochs: float = Field(default=4.0, gt=0)
    """Passes of a retraining over its images."""
    batch_size: int = Field(default=50, ge=2)
    """Images per step of a retraining."""
    peak: float = Field(default=0.1, gt=0)
    """Peak learning rate of a retraining."""

    @property
    def card(self) -> Card:
        """Return the question and its figures."""
        removed = "share of the pixels that are removed"
        curves = {
            "roar": ("Most important pixels removed (ROAR)", "A lower curve than that of random is better."),
            "kar": ("Least important pixels removed (KAR)", "A higher curve than that of random is better."),
        }
        words = "Mean test accuracy of networks that were retrained on such images. "
        figures = [
            Figure(name=name, kind="curve", title=title, words=words + told, x=removed, y="test accuracy")
            for name, (title, told) in curves.items()
        ]
        for name, (title, _) in curves.items():
            said = (
                "Area between the curves of random and of the attribution, per retrained seed, against the accuracy of"
            )
            figures.append(
                Figure(
                    name=f"{name}-trade-off",
                    kind="scatter",
                    title=f"Accuracy against interpretability: {title[0].lower()}{title[1:]}",
                    words=f"{said} the network that is explained. Higher: the maps say more about what is learned.",
                    x="test accuracy of the explained network",
                    y="area between the curves",
                )
            )
        return Card(
            study="retrain",
            version=self.version,
            title="Remove and retrain",
            asks="Do attributions of adversarially trained networks find the pixels that networks learn from?",
            source="Kim, Seo, Jeon 2019, section 3.2 (ROAR and KAR); Hooker et al. 2019",
            differs="Small networks are retrained on a part of the images, as the parameters say.",
            figures=tuple(figures),
        )

    def pieces(self) -> list[Key]:
        """Return one key per attribution of a network and seed.

        The controls come once for all networks.
        """
        found: list[Key] = []
        for attribution in self.attributions:
            for network in ("none",) if attribution in CONTROLS else self.networks:
                found += [{"network": network, "attribution": attribution, "seed": s} for s in range(self.seeds)]
        return found

    def models(self, piece: Key) -> tuple[str, ...]:
        """Return the explained network, if the piece has one."""
        return () if piece["network"] == "none" else (str(piece["network"]),)

    def measure(self, piece: Key, workplace: Workplace) -> Finding:
        """Retrain networks for each share, and compare with random removal."""
        seed, attribution = int(piece["seed"]), str(piece["attribution"])
        if not all(0 < share < 1 for share in self.shares) or list(self.shares) != sorted(set(self.shares)):
            raise UsageError(f"expected rising shares between 0 and 1, got {self.shares}; correct --set shares")
        floor = self._random_curves(seed, workplace)
        clean, chance = float(floor["clean"]), 1 / len(dataset_of(self.dataset).classes)
        ranks = self._random_ranks(seed) if attribution == "random" else self._ranks(piece, workplace)
        own = floor if attribution == "random" else self._curves(ranks, seed, workplace)
        name = "" if piece["network"] == "none" else str(piece["network"])
        points, numbers = [], {"clean": clean}
        axis = (0.0, *self.shares, 1.0)
        for way, most in WAYS.items():
            heights = own[way].tolist()
            points += [
                Point(figure=way, series=attribution, x=x, y=y, panel=name)
                for x, y in zip(axis, (clean, *heights), strict=False)
            ]
            gains = (floor[way] - own[way]) * (1 if most else -1)
            numbers[f"{way}-area"] = area(axis, (0.0, *gains.tolist(), 0.0))
            numbers |= {f"{way}-{share:g}": y for share, y in zip(self.shares, heights, strict=True)}
            numbers[f"{way}-curve-area"] = area(axis, (clean, *heights, chance))
            if name and (measured := registry.load("models", name).accuracy) is not None:
                spot = {"figure": f"{way}-trade-off", "series": attribution, "label": name}
                points.append(Point(x=measured.clean, y=numbers[f"{way}-area"], **spot))
        return Finding(points, numbers, self._pictures(ranks, attribution) if seed == 0 else {})

    def _images(self) -> Halves:
        return first_images(self.dataset, self.train_images, self.test_images)

    def _random_curves(self, seed: int, workplace: Workplace) -> dict[str, Tensor]:
        """Return the accuracies without any removal and with random removal."""

        def make() -> dict[str, Tensor]:
            ranks = self._random_ranks(seed)
            clean = self._accuracy(ranks, 0.0, seed, workplace, most=True)
            return {"clean": torch.tensor(clean), **self._curves(ranks, seed, workplace)}

        own = {key: value for key, value in asdict(self).items() if key not in {*self.selects, "nodes"}}
        return workplace.once("random", [self.version, own, seed], make)

    def _curves(self, ranks: Halves, seed: int, workplace: Workplace) -> dict[str, Tensor]:
        return {
            way: torch.tensor([self._accuracy(ranks, share, seed, workplace, most=most) for share in self.shares])
            for way, most in WAYS.items()
        }

    def _accuracy(self, ranks: Halves, share: float, seed: int, workplace: Workplace, *, most: bool) -> float:
        """Return the accuracy of a network trained without some pixels."""
        dataset = dataset_of(self.dataset)
        changed = Halves(
            *(
                half._replace(images=without(half.images, rank, share, most=most, fill=dataset.mean))
                for half, rank in zip(self._images(), ranks, strict=True)
            )
        )
        device = pick_device(workplace.device)
        return retrained(self._recipe(seed), changed, dataset, device, workplace.beat)

    def _recipe(self, seed: int) -> Recipe:
        shape = dataset_of(self.dataset).shape
        assert shape is not None
        return Recipe(
            name="retrain",
            model="retrained",
            title="Retrained without some pixels",
            description="A network of the study.",
            dataset=self.dataset,
            architecture=fitting(self.architecture, shape, self.architecture_params),
            objective=Component(name="natural"),
            epochs=self.epochs,
            batch_size=self.batch_size,
            schedule=Schedule(peak=self.peak, warmup=0.1),
            augmentation=Augmentation(crop_padding=0, flip=False),
            seed=seed,
        )

    def _random_ranks(self, seed: int) -> Halves:
        rng = Rng(seed).fork("retrain", "random")
        halves = self._images()
        return Halves(
            *(removal_order(torch.zeros_like(half.images[:, 0]), rng.fork(k)) for k, half in enumerate(halves))
        )

    def _ranks(self, piece: Key, workplace: Workplace) -> Halves:
        """Return the orders of pixels by edges or by an attribution."""
        if piece["attribution"] == "edges":
            heatmaps = {str(k): edges(half.images) for k, half in enumerate(self._images())}
        else:
            heatmaps = self._heatmaps(str(piece["network"]), str(piece["attribution"]), workplace)
        rng = Rng(0).fork("retrain", "ties")
        return Halves(*(removal_order(heatmaps[str(k)], rng.fork(k)) for k in range(2)))

    def _heatmaps(self, network: str, attribution: str, workplace: Workplace) -> dict[str, Tensor]:
        """Return the maps of all images, computed once for all seeds."""
        registered = network_of(network, self.dataset)
        params = {"nodes": self.nodes} if attribution in NODES else {}
        method: AttributionMethod = registry.instantiate("attributions", Component(name=attribution, params=params))

        def make() -> dict[str, Tensor]:
            device = pick_device(workplace.device)
            model = registered.on(device)
            return {
                str(k): explained(model, method, to_float(half.images), f"{self.dataset}-{k}", workplace)
                for k, half in enumerate(self._images())
            }

        known = [registered.entry.weights.sha256, attribution, method.version, params]
        return workplace.once("maps", [*known, self.dataset, self.train_images, self.test_images], make)

    def _pictures(self, ranks: Halves, attribution: str) -> dict[str, bytes]:
        dataset = dataset_of(self.dataset)
        if not dataset.shows_images:
            return {}
        images = self._images().test.images[:6]
        return {attribution: gallery(images, ranks.test[:6], self.shares, dataset.mean)}


def explained(
    model: torch.nn.Module, method: AttributionMethod, images: Tensor, name: str, workplace: Workplace
) -> Tensor:
    """Return (N, H, W) heatmaps of the predicted classes.

    `name` begins the ids of the images, from which random methods draw.
    """
    device, found = pick_device(workplace.device), []
    for start in range(0, len(images), BATCH):
        part = images[start : start + BATCH].to(device)
        with torch.no_grad():
            predicted = model(part).argmax(1)
        ids = tuple(f"{name}-{start + k}" for k in range(len(part)))
        attribution = method.attribute(model, part, predicted, rng=SampleRng(Rng(0).fork("retrain", "maps"), ids))
        found.append(reduce(attribution, "sum-of-abs").cpu())
        workplace.beat()
    return torch.cat(found)
