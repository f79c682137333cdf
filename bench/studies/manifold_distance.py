"""Distance of adversarial images to the manifold of images, by network."""

from __future__ import annotations

from dataclasses import asdict
from typing import ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench.core.compute.machine import pick_device
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts.study import Finding, Study, Workplace
from bench.core.schemas.study import Card, Figure, Key, Point
from bench.studies._manifold import Projection, project, sheet
from bench.studies._registered import dataset_of, network_of
from bench.studies._vae_gan import Recipe, VaeGan, generator
from leaderboard.records.statistics import paired_interval
from model_zoo.training.adversary import l2_ascent, prediction_gain
from model_zoo.training.data import to_float

BATCH = 20
"""Images that are attacked or projected between two signs of life."""
PICTURED = 6
"""Rows of a gallery."""


class Preset(NamedTuple):
    """What differs between the two image sets."""

    networks: tuple[str, ...]
    latent: int
    depth: int


PRESETS = {
    "mnist": Preset(
        ("natural-small-cnn", "at-0.05-small-cnn", "at-0.1-small-cnn", "at-0.2-small-cnn", "at-0.3-small-cnn"), 10, 2
    ),
    "cifar10": Preset(("natural-wrn28", "at1-wrn28", "at2-wrn28", "at4-wrn28", "pgd-wrn28"), 128, 3),
}
"""Networks from natural to the strongest adversary, and the latent dimensions of the paper."""


@dataclass(frozen=True, kw_only=True)
class ManifoldDistance(Study):
    """Measure how far adversarial images are from the image manifold.

    A VAE-GAN is trained on the training images, and its decoder's images stand for the manifold. An image is projected
    by search in the latent space; the distance to its projection is measured for test images, which is the floor, and
    for adversarial images of each network at one L2 radius. Networks are compared on the same images: `minus-natural`
    and `minus-weaker` are mean paired differences to the first network and to the one before, with 95 % intervals.

    Source:
        Kim, Seo, Jeon 2019, section 2.1. Reference code: 1202kbs/Robustness-and-Interpretability, notebooks 1 and 3.
        Differs: projection by search in the latent space instead of the encoder's random latent; every image counts,
        not only those whose attack misleads the natural network; distances in pixel units, not scaled to the clean
        ones; a smaller VAE-GAN whose decoder weighs the reconstruction as its encoder does.
    """

    version: ClassVar[int] = 1

    dataset: Literal["mnist", "cifar10"] = "mnist"
    """Image set of the generator and of the networks."""
    networks: tuple[str, ...] = ()
    """Registered networks from natural to the strongest adversary; empty takes those of the image set."""
    images: int = Field(default=200, ge=2)
    """Test images that are attacked and projected."""
    epsilon: float = Field(default=6.0, gt=0)
    """L2 radius of the attack in pixel units; the paper's 12 in [-1, 1]."""
    attack_steps: int = Field(default=40, ge=1)
    """Steps of the attack, each a sixth of the radius."""
    starts: int = Field(default=4, ge=1)
    """Searches per image: one at the encoder's mean, the others at random latents."""
    search_steps: int = Field(default=100, ge=1)
    """Adam steps of a search."""
    search_step_size: float = Field(default=0.1, gt=0)
    """First step size of a search."""
    images_seen: int = Field(default=128_000, ge=64)
    """Images that the generator's training sees, repetitions counted."""
    width: int = Field(default=32, ge=1)
    """Channels of the generator's first convolution."""

    @property
    def card(self) -> Card:
        """Return the question and its figures."""
        distance = Figure(
            name="distance",
            kind="boxes",
            title="Distance to the manifold",
            words="Euclidean distance of an image to the nearest image that the generator makes. Test images are the "
            "floor, which is the generator's own error.",
            x="training of the network",
            y="distance in pixel units",
        )
        excess = Figure(
            name="excess",
            kind="boxes",
            title="How much farther than the clean image",
            words="The distance of an adversarial image minus that of its clean image, per image.",
            x="training of the network",
            y="difference of distances in pixel units",
        )
        return Card(
            study="manifold-distance",
            version=self.version,
            title="Distance to the image manifold",
            asks="Are adversarial images nearer to the image manifold the stronger the adversary in training?",
            source="Kim, Seo, Jeon 2019, section 2.1",
            differs="Projection by search in the latent space; every image counts; a smaller generator.",
            figures=(distance, excess),
        )

    def pieces(self) -> list[Key]:
        """Return one key per network."""
        return [{"network": network} for network in self._ladder]

    def models(self, piece: Key) -> tuple[str, ...]:
        """Return the network, and those with which it is compared."""
        network = str(piece["network"])
        return tuple(dict.fromkeys((network, *self._compared(network).values())))

    def measure(self, piece: Key, workplace: Workplace) -> Finding:
        """Attack, project and compare the images of one network."""
        network = str(piece["network"])
        generator = self._generator(workplace)
        floor = self._floor(generator, workplace)
        attacked = self._attacked(network, generator, workplace)
        far, excess = attacked["distances"], attacked["distances"] - floor
        sides = {("distance", "adversarial"): far, ("distance", "clean"): floor, ("excess", "adversarial"): excess}
        points = [
            Point(figure=figure, series=series, x=network, y=value, panel=self.dataset)
            for (figure, series), values in sides.items()
            for value in values.tolist()
        ]
        numbers = {
            "distance": float(far.mean()),
            "clean-distance": float(floor.mean()),
            "excess": float(excess.mean()),
            "misled": float(attacked["misled"].float().mean()),
        }
        for name, other in self._compared(network).items():
            gains = (far - self._attacked(other, generator, workplace)["distances"]).double().numpy()
            low, high = paired_interval(gains)
            numbers |= {name: float(gains.mean()), f"{name}-low": low, f"{name}-high": high}
        return Finding(points, numbers, self._pictures(network, generator, workplace))

    @property
    def _ladder(self) -> tuple[str, ...]:
        return self.networks or PRESETS[self.dataset].networks

    def _compared(self, network: str) -> dict[str, str]:
        """Return the networks with which one is compared.

        The keys begin the names of the numbers.
        """
        place = self._ladder.index(network)
        return {"minus-natural": self._ladder[0], "minus-weaker": self._ladder[place - 1]} if place else {}

    def _generator(self, workplace: Workplace) -> VaeGan:
        dataset = dataset_of(self.dataset)
        assert dataset.shape is not None
        channels, side, _ = dataset.shape
        preset = PRESETS[self.dataset]
        recipe = Recipe(
            side=side,
            channels=channels,
            latent=preset.latent,
            depth=preset.depth,
            width=self.width,
            images_seen=self.images_seen,
            reconstruction=1.0,
        )
        return generator(recipe, dataset.load("train"), workplace)

    def _chosen(self) -> tuple[Tensor, Tensor, list[int]]:
        """Return the test images in [0, 1], their labels and places."""
        split = dataset_of(self.dataset).load("test")
        order = torch.randperm(len(split.images), generator=Rng(0).fork("manifold-distance", "images").generator())
        places = order[: self.images]
        return to_float(split.images[places]), split.labels[places], places.tolist()

    def _identity(self) -> dict[str, object]:
        return {"version": self.version, **{k: v for k, v in asdict(self).items() if k != "networks"}}

    def _floor(self, generator: VaeGan, workplace: Workplace) -> Tensor:
        """Return the (N,) distances of the clean images."""

        def make() -> dict[str, Tensor]:
            images, _, places = self._chosen()
            return {"distances": self._projected(generator, images, places, workplace).distances}

        return workplace.once("floor", self._identity(), make)["distances"]

    def _attacked(self, network: str, generator: VaeGan, workplace: Workplace) -> dict[str, Tensor]:
        """Return an attacked network's distances, and which images mislead it."""
        registered = network_of(network, self.dataset)

        def make() -> dict[str, Tensor]:
            device = pick_device(workplace.device)
            model = registered.on(device)
            images, labels, places = self._chosen()
            moved = self._attack(model, images, labels, workplace)
            with torch.no_grad():
                misled = (
                    torch.cat([model(part.to(device)).argmax(1).cpu() for part in torch.split(moved, BATCH)]) != labels
                )
            distances = self._projected(generator, moved, places, workplace).distances
            return {"misled": misled, "distances": distances}

        return workplace.once("attacked", [self._identity(), registered.entry.weights.sha256], make)

    def _attack(self, model: nn.Module, images: Tensor, labels: Tensor, workplace: Workplace) -> Tensor:
        found, device = [], pick_device(workplace.device)
        for part, truth in zip(torch.split(images, BATCH), torch.split(labels, BATCH), strict=True):
            seen = part.to(device)
            gain = prediction_gain(model, truth.to(device))
            start, step_size = torch.zeros_like(seen), self.epsilon / 6
            moved = l2_ascent(
                gain, seen, start=start, epsilon=self.epsilon, step_size=step_size, steps=self.attack_steps
            )
            found.append(moved.cpu())
            workplace.beat()
        return torch.cat(found)

    def _projected(self, generator: VaeGan, images: Tensor, places: list[int], workplace: Workplace) -> Projection:
        """Return the projections of images, whose places name their random starts."""
        found, device, rng = [], pick_device(workplace.device), Rng(0).fork("manifold-distance", "starts")
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH].to(device)
            with torch.no_grad():
                mean, _ = generator.encode(part)
            ids = tuple(map(str, places[start : start + BATCH]))
            drawn = SampleRng(rng, ids).normal((self.starts, mean.shape[1])).to(device)
            drawn[:, 0] = mean
            steps, step_size = self.search_steps, self.search_step_size
            found.append(project(generator.decoder, part, drawn, steps=steps, step_size=step_size))
            workplace.beat()
        return Projection(*(torch.cat(parts).cpu() for parts in zip(*found, strict=True)))

    def _pictures(self, network: str, generator: VaeGan, workplace: Workplace) -> dict[str, bytes]:
        """Return a gallery: each image, its projection, attacked, that projection, difference.

        The images are the first ones of the test set.
        """
        dataset = dataset_of(self.dataset)
        if not dataset.shows_images:
            return {}
        split, places = dataset.load("test"), list(range(PICTURED))
        clean, model = to_float(split.images[:PICTURED]), network_of(network, self.dataset)
        moved = self._attack(model.on(pick_device(workplace.device)), clean, split.labels[:PICTURED], workplace)
        onto, back = (self._projected(generator, each, places, workplace).images for each in (clean, moved))
        return {network: sheet([clean, onto, moved, back, 0.5 + (moved - back) / 2])}
