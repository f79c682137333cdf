"""Networks of timm: timm:resnet18.a1_in1k (ImageNet), or timm:cifar10/hf-hub:OWNER/NAME for another data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from bench.core.contracts import Announced, Zoo, ZooModel
from bench.core.errors import UnknownNameError, UsageError
from bench.core.schemas.protocol import Component
from model_zoo.architectures.timm import build
from model_zoo.extras import extra, quickly_offline

IMAGENET = "imagenet"
HUB = ("hf-hub:", "hf_hub:")


class Timm(Zoo):
    """Networks that `timm.create_model(NAME, pretrained=True)` knows.

    A prefix `DATASET/` says what they classify.
    """

    version: ClassVar[int] = 1

    def canonical(self, name: str) -> str:
        """Return `DATASET/NAME`, with the tag of the weights.

        Raises:
            EnvironmentFault: if timm is not installed.
            UnknownNameError: if timm has no such network.
            UsageError: if it has no weights of it.
        """
        timm, (dataset, model) = _library(), _parts(name)
        if model.startswith(HUB):
            return f"{dataset}/{model}"
        plain, _, tag = model.partition(".")
        if not timm.is_model(plain):
            raise UnknownNameError("models of timm", plain, timm.list_models(), "timm.list_models()")
        if not timm.is_model_pretrained(model):
            offered = ", ".join(timm.list_pretrained(f"{plain}.*")) if hasattr(timm, "list_pretrained") else ""
            raise UsageError(
                f"expected weights of timm's {plain}, got {tag or 'none'!r}; choose {offered or 'another'}"
            )
        tag = tag or timm.get_pretrained_cfg(model).tag
        return f"{dataset}/{plain}.{tag}" if tag else f"{dataset}/{plain}"

    def announce(self, canonical: str) -> Announced:
        """Return data set, classes and size of a network.

        A network of the Hugging Face Hub announces the data set alone.
        """
        dataset, model = _parts(canonical)
        if model.startswith(HUB):
            return Announced(dataset)
        about = _library().get_pretrained_cfg(model)
        size = tuple(about.input_size[1:]) if about.fixed_input_size else None
        return Announced(dataset, about.num_classes, size)

    def fetch(self, name: str, downloads: Path) -> ZooModel:  # noqa: ARG002 - timm has a cache of its own
        """Load the network of a canonical name.

        Its normalisation becomes the entry's.

        Raises:
            UsageError: if no data set is named and the network is none of ImageNet's 1000 classes.
        """
        return self._made(name, trained=True)

    def untrained(self, name: str) -> ZooModel:
        """Return the network of a canonical name with random weights."""
        return self._made(name, trained=False)

    def _made(self, name: str, *, trained: bool) -> ZooModel:
        timm, (dataset, model) = _library(), _parts(name)
        with quickly_offline():
            network = timm.create_model(model, pretrained=trained).eval()
        about = network.pretrained_cfg
        if dataset == IMAGENET and network.num_classes != 1000:
            raise UsageError(
                f"expected a network of ImageNet's 1000 classes, got {network.num_classes} of {model}; "
                f"write timm:DATASET/{model}"
            )
        return ZooModel(
            network=network,
            build=build,
            architecture=Component(
                name="timm", params={"model": about["architecture"] if model.startswith(HUB) else model}
            ),
            dataset=dataset,
            num_classes=network.num_classes,
            shape=tuple(about["input_size"]),
            mean=tuple(about["mean"]),
            std=tuple(about["std"]),
            method=f"timm {about.get('tag') or 'weights'}",
            license=about.get("license") or "see timm",
            source=about.get("origin_url") or "",
        )


def _library() -> Any:
    from bench.core.compute import vision  # noqa: F401 - timm imports torchvision

    with extra("timm"):
        import timm
    return timm


def _parts(name: str) -> tuple[str, str]:
    """Return the two parts of DATASET/NAME.

    Names of the Hugging Face Hub have a slash, too.
    """
    first, slash, rest = name.partition("/")
    return (first, rest) if slash and ":" not in first else (IMAGENET, name)
