"""ImageNet classifiers of torchvision: torchvision:resnet50, or with the weights named, resnet50/IMAGENET1K_V1."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bench.core.contracts import Zoo, ZooModel
from bench.core.errors import UnknownNameError
from bench.core.schemas.protocol import Component
from model_zoo.architectures.torchvision import build

IMAGENET = "imagenet"


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

    def dataset(self, canonical: str) -> str:  # noqa: ARG002 - all classify the same
        """Return ImageNet's name."""
        return IMAGENET

    def fetch(self, name: str, downloads: Path) -> ZooModel:  # noqa: ARG002 - torch has a cache of its own
        """Load the network of a canonical name.

        Its normalisation becomes the entry's.
        """
        from bench.core.compute.vision import models

        model, _, chosen = name.partition("/")
        weights = models.get_model_weights(model)[chosen]
        seen = weights.transforms()
        return ZooModel(
            network=models.get_model(model, weights=weights, progress=False).eval(),
            build=build,
            architecture=Component(name="torchvision", params={"model": model}),
            dataset=IMAGENET,
            num_classes=len(weights.meta["categories"]),
            shape=(3, seen.crop_size[0], seen.crop_size[0]),
            mean=tuple(seen.mean),
            std=tuple(seen.std),
            method=f"torchvision {chosen}",
            license="BSD-3-Clause (code); its weights: see torchvision",
            source=weights.meta.get("recipe", ""),
        )
