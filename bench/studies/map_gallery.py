"""Pictures of maps under changes of the image, with numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from bench import registry
from bench.core.compute.heatmap import reduce
from bench.core.compute.machine import pick_device
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack, AttributionMethod, Metric, Pair, Victim, View
from bench.core.contracts.study import Finding, Study, Workplace
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component, ThreatModel
from bench.core.schemas.study import Card, Figure, Key, Point
from bench.studies._gallery import laid_out
from bench.studies._registered import dataset_of, network_of
from bench.studies._removal import edges
from leaderboard.records.statistics import shared_bootstrap_interval
from model_zoo.training.data import to_float

Floats = npt.NDArray[np.float64]

DATASET, SOURCE = "cifar10", "foolbox-cifar10"
"""Set on which the networks were trained, and where its first test images lie on every machine."""

NETWORKS = (
    "natural-wrn28", "underfit-wrn28", "at1-wrn28", "at2-wrn28", "at4-wrn28", "pgd-wrn28", "fgsm8-wrn28", "l2-wrn28",
    "art-wrn28", "st-at-wrn28",
)  # fmt: skip
"""Networks of the gallery, as far as they are registered."""

CONTROL = "none"
"""The piece without a network: the images themselves, and Sobel's edges as their maps."""

PICTURED = 2
"""Images in a picture."""

GREYS = 5
"""Grey levels of a pictured map, which keep its file small."""

CLIP = 0.99
"""Quantile of a map that is drawn white."""

EVERYTHING = ThreatModel(norm="linf", epsilon=1, knowledge="none", keep_prediction=False)


@dataclass(frozen=True, kw_only=True)
class MapGallery(Study):
    """Show gradient and SmoothGrad maps under changes that leave shape or texture.

    Every change is applied to the same images. A map explains the class that the network predicts for the unchanged
    image. Kendall's correlation compares the map of the changed image with that of the unchanged one, pixel by pixel:
    after patch-shuffle it is low for every map that follows the image. Sobel's edges, which need no network, are the
    control.

    Source:
        Zhang, Zhu 2019, figures 2, 8, 9 and 10. Reference code: PKUAI26/AT-CNN.
        Differs: 20 images of CIFAR-10 at 32 x 32 pixels; Kendall's correlation beside the look; other radii of the
        Fourier filters; networks that start from the natural one.
    """

    version: ClassVar[int] = 1
    selects: ClassVar[frozenset[str]] = frozenset({"networks"})

    networks: tuple[str, ...] = ()
    """Registered networks of CIFAR-10; empty takes those of the gallery."""
    images: int = Field(default=20, ge=PICTURED, le=20)
    """The first test images that are explained; the first two are in the pictures."""
    changes: dict[str, tuple[float, ...]] = Field(
        default_factory=lambda: {
            "saturation": (0.5, 8, 1024),
            "patch-shuffle": (2,),
            "fourier-low": (4,),
            "fourier-high": (4,),
        }
    )
    """Levels by change, which is an attack that asks no network."""
    stylized: str = ""
    """Checksum of SHA256SUMS in the data folder's `stylized`, which holds stylised copies; empty for none."""
    nodes: int = Field(default=10, ge=1)
    """Noisy copies per image of SmoothGrad."""

    @property
    def card(self) -> Card:
        """Return the question and its figure."""
        kept = Figure(
            name="kept",
            kind="curve",
            title="How much of the map is left",
            words="Kendall's correlation between the maps of the changed and of the unchanged image, mean over the "
            "images. Edges: Sobel's gradient of the image, the same for all networks.",
            x="change and its level",
            y="Kendall's correlation",
            higher_is="more-robust",
        )
        return Card(
            study="map-gallery",
            version=self.version,
            title="Gallery of maps",
            asks="Which maps keep to the shapes when saturation, patch-shuffle, style or a filter changes the image?",
            source="Zhang, Zhu 2019, figures 2, 8, 9 and 10",
            differs="20 images of CIFAR-10 at 32 x 32 pixels, small networks. Stylised copies are a row only where the "
            "parameter stylized names them; bench stylize makes them.",
            figures=(kept,),
            pictures="Two images side by side. Without a network: the image and its edges. Of a network: its gradient "
            "map and its SmoothGrad map. Each map has a scale of its own (white: the 99 % quantile).",
        )

    def pieces(self) -> list[Key]:
        """Return one key per network, the images themselves first."""
        known = set(registry.names("models"))
        chosen = self.networks or tuple(name for name in NETWORKS if name in known)
        return [{"network": name} for name in (CONTROL, *chosen)]

    def models(self, piece: Key) -> tuple[str, ...]:
        """Return the network, if the piece has one."""
        return () if piece["network"] == CONTROL else (str(piece["network"]),)

    def measure(self, piece: Key, workplace: Workplace) -> Finding:
        """Explain the images before and after every change."""
        network, images = str(piece["network"]), self._images()
        changed = {"unchanged": images, **dict(self._changed(images))}
        maps = _edges(changed) if network == CONTROL else self._explained(network, changed, workplace)
        points = [
            point
            for method, heatmaps in maps.items()
            for name in list(changed)[1:]
            for point in _points(method, name, network, _kendall(heatmaps["unchanged"], heatmaps[name]))
        ]
        shown = {method: {name: _grey(found[:PICTURED]) for name, found in own.items()} for method, own in maps.items()}
        if network == CONTROL:
            shown = {"image": {name: _coloured(found[:PICTURED]) for name, found in changed.items()}, **shown}
        return Finding(points, pictures={"maps": _sheet(shown, list(changed))}, rows=tuple(changed))

    def _images(self) -> Tensor:
        return to_float(dataset_of(SOURCE).load("test").images[: self.images])

    def _rng(self, *purpose: str) -> SampleRng:
        """Return streams of the images, which are the same for every network."""
        ids = tuple(f"{DATASET}/test/{index}" for index in range(self.images))
        return SampleRng(Rng(0).fork("map-gallery", *purpose), ids)

    def _changed(self, images: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield the name and the images of every change and level.

        Raises:
            UsageError: if a change asks a network.
            EnvironmentFault: if the stylised copies are missing.
        """
        found = {name: Component(name=name, params={"levels": list(levels)}) for name, levels in self.changes.items()}
        if self.stylized:
            found["stylized"] = Component(name="stylized", params={"sha256": self.stylized})
        for name, component in found.items():
            if registry.load("attacks", name).aim != "nothing":
                raise UsageError(f"expected changes that no adversary chose, got {name}; correct --set changes")
            attack: Attack = registry.instantiate("attacks", component)
            labels, nobody = torch.zeros(len(images), dtype=torch.int64), cast(Victim, None)  # it asks no network
            made = attack.propose(nobody, images, labels, threat=EVERYTHING, rng=self._rng(name))
            for member, moved in zip(attack.members, made, strict=True):
                yield f"{name} {member}".strip(), moved

    def _explained(
        self, network: str, changed: dict[str, Tensor], workplace: Workplace
    ) -> dict[str, dict[str, Tensor]]:
        """Return (N, H, W) heatmaps by method and change."""
        device = pick_device(workplace.device)
        model = network_of(network, DATASET).on(device)
        with torch.no_grad():
            predicted = model(changed["unchanged"].to(device)).argmax(1)
        smooth = Component(name="smoothgrad", params={"nodes": self.nodes})
        found: dict[str, dict[str, Tensor]] = {}
        for component in (Component(name="gradient"), smooth):
            method: AttributionMethod = registry.instantiate("attributions", component)
            found[component.name] = {}
            for name, images in changed.items():
                found[component.name][name] = self._heatmaps(model, method, images.to(device), predicted)
                workplace.beat()
        return found

    def _heatmaps(self, model: nn.Module, method: AttributionMethod, images: Tensor, labels: Tensor) -> Tensor:
        attribution = method.attribute(model, images, labels, rng=self._rng("maps"))
        return reduce(attribution, "sum-of-abs").cpu()


def _edges(changed: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    return {"edges": {name: edges((images * 255).round().byte()) for name, images in changed.items()}}


def _points(method: str, change: str, network: str, values: Floats) -> Iterator[Point]:
    """Yield the mean with its interval, if any value is defined."""
    if len(values):
        low, high = shared_bootstrap_interval(values)
        panel, mean = "" if network == CONTROL else network, float(values.mean())
        yield Point(figure="kept", series=method, x=change, y=mean, low=low, high=high, over=len(values), panel=panel)


def _kendall(before: Tensor, after: Tensor) -> Floats:
    """Return Kendall's correlation of every image whose maps are not constant."""
    metric: Metric = registry.instantiate("metrics", Component(name="kendall"))
    empty, labels = torch.empty(len(before), 0), torch.zeros(len(before), dtype=torch.int64)
    first, second = (View(empty, empty, empty, heatmap) for heatmap in (before, after))
    values: Floats = metric(Pair(first, second, labels)).numpy()
    return values[~np.isnan(values)]


def _grey(heatmaps: Tensor) -> Tensor:
    """Return pictures of maps, (N, 3, H, W), in few greys.

    The maps are (N, H, W) and not negative.
    """
    top = heatmaps.flatten(1).quantile(CLIP, dim=1).clamp(min=1e-12).view(-1, 1, 1)
    steps = (heatmaps / top).clamp(0, 1).mul(GREYS - 1).round()
    return (steps * (255 / (GREYS - 1))).round().byte().unsqueeze(1).expand(-1, 3, -1, -1)


def _coloured(images: Tensor) -> Tensor:
    return (images * 255).round().byte()


def _sheet(shown: dict[str, dict[str, Tensor]], rows: list[str]) -> bytes:
    """Return a PNG with one row per change.

    The columns are what is shown of the first image, then of the next.
    """
    tiles = [torch.stack([own[row] for own in shown.values()], dim=1).flatten(0, 1) for row in rows]
    return laid_out(torch.stack(tiles))
