"""ImageNet classifiers of torchvision: torchvision:resnet50, or with the weights named, resnet50/IMAGENET1K_V1."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from bench.core.contracts import Announced, Zoo, ZooModel
from bench.core.errors import UnknownNameError
from bench.core.schemas.protocol import Component
from model_zoo.architectures.torchvision import build

IMAGENET = "imagenet"
ONE_SIZE = ("vit_", "maxvit_")
"""Beginnings of the names of networks that take images of one size only."""


class Torchvision(Zoo):
    """Networks whose names in `torchvision.models` have weights.

    torchvision checks the hash of its download.
    """

    version: ClassVar[int] = 1

    def canonical(self, name: str) -> str:
        """Return `MODEL/WEIGHTS`.

        Without weights in the name, torchvision's recommended weights are taken.

        Raises:
            UnknownNameError: if torchvision has no such classifier or no such weights.
        """
        from bench.core.compute.vision import models

        model, _, wanted = name.partition("/")
        if model not in (known := models.list_models(module=models)):
            raise UnknownNameError("models of torchvision", model, known, "torchvision.models.list_models()")
        offered = models.get_model_weights(model)
        chosen = wanted or offered.DEFAULT.name
        if chosen not in offered.__members__:
            raise UnknownNameError(f"weights of torchvision's {model}", chosen, offered.__members__)
        return f"{model}/{offered[chosen].name}"

    def announce(self, canonical: str) -> Announced:
        """Return ImageNet's name, the classes, and the size of a transformer's images."""
        model, weights = _weights(canonical)
        side = weights.transforms().crop_size[0]
        return Announced(
            IMAGENET, len(weights.meta["categories"]), (side, side) if model.startswith(ONE_SIZE) else None
        )

    def fetch(self, name: str, downloads: Path) -> ZooModel:  # noqa: ARG002 - torch has a cache of its own
        """Load the network of a canonical name.

        Its normalisation becomes the entry's.
        """
        return _made(name, trained=True)

    def untrained(self, name: str) -> ZooModel:
        """Return the network of a canonical name with random weights."""
        return _made(name, trained=False)


def _weights(canonical: str) -> tuple[str, Any]:
    """Return a model's name, and the description of its weights."""
    from bench.core.compute.vision import models

    model, _, chosen = canonical.partition("/")
    return model, models.get_model_weights(model)[chosen]


def _made(name: str, *, trained: bool) -> ZooModel:
    from bench.core.compute.vision import models

    model, weights = _weights(name)
    seen = weights.transforms()
    return ZooModel(
        network=models.get_model(model, weights=weights if trained else None, progress=False).eval(),
        build=build,
        architecture=Component(name="torchvision", params={"model": model}),
        dataset=IMAGENET,
        num_classes=len(weights.meta["categories"]),
        shape=(3, seen.crop_size[0], seen.crop_size[0]),
        mean=tuple(seen.mean),
        std=tuple(seen.std),
        method=f"torchvision {weights.name}",
        license="BSD-3-Clause (code); its weights: see torchvision",
        source=weights.meta.get("recipe", ""),
    )
