"""Offers gathered images as a data set and a protocol in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar, Literal

from bench import registry
from bench.core.contracts import Dataset, Split
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Protocol
from bench.core.text import counted
from bench.images.in_memory import Gathered
from bench.images.protocol import likened, sample_set

NAME = "own-images"
USUAL = {3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), 1: ((0.5,), (0.5,))}
"""Mean and deviation that networks for other images often have, by number of channels."""


def check_labels(found: Gathered, outputs: int) -> tuple[str, ...]:
    """Return one class name per output of a network.

    Raises:
        UsageError: if a label is no output of the network, or there are more or fewer names than outputs.
    """
    if (largest := int(found.split.labels.max())) >= outputs:
        raise UsageError(
            f"expected labels from 0 to {outputs - 1}, as the network has {outputs} outputs, got {largest}; number the "
            "classes from 0 on, in the order of the outputs"
        )
    if found.classes and len(found.classes) != outputs:
        raise UsageError(
            f"expected one class per output of the network, {outputs}, got {len(found.classes)}; hand in their names "
            "as classes=, in the order of the outputs"
        )
    return found.classes or tuple(str(index) for index in range(outputs))


@contextmanager
def offered(found: Gathered, classes: Sequence[str], like: Protocol, models_of: str) -> Iterator[str]:
    """Yield the name of a protocol of gathered images.

    Args:
        found: the images and labels.
        classes: names of the network's outputs.
        like: the protocol that everything but the images is taken from.
        models_of: the data set of the networks.
    """
    images = found.split.images
    about = f"{counted(len(images), 'image')} in memory, measured like {like.key}"
    naming = {"name": NAME, "description": about, "models_of": models_of}
    height, width = images.shape[2:]
    protocol = likened(like, sample_set(images, NAME), naming, (height, width))
    with (
        registry.offering("datasets", NAME, dataset_of(found.split, classes)),
        registry.offering("protocols", protocol.key, protocol),
    ):
        yield protocol.key


def dataset_of(split: Split, names: Sequence[str]) -> type[Dataset]:
    """Return a data set that holds gathered images."""
    channels, height, width = split.images.shape[1:]

    class OwnImages(Dataset):
        """Images in memory."""

        classes: ClassVar[tuple[str, ...]] = tuple(names)
        shape: ClassVar[tuple[int, int, int] | None] = (channels, height, width)
        mean: ClassVar[tuple[float, ...]] = USUAL[channels][0]
        std: ClassVar[tuple[float, ...]] = USUAL[channels][1]

        def load(self, split_name: Literal["train", "test"]) -> Split:  # noqa: ARG002 - there is one part
            """Return the images."""
            return split

        def is_stored(self) -> bool:
            """Return that they are here."""
            return True

    return OwnImages
