"""What images of one's own need to know of a network."""

from __future__ import annotations

from typing import NamedTuple

from bench.core.errors import UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.geometry import Geometry
from bench.core.schemas.protocol import Protocol
from bench.images.classes import Outputs, outputs_for, outputs_of
from bench.images.geometry import geometry_for, geometry_of, read_size


class Network(NamedTuple):
    """The outputs that labels mean, and how pictures become pixels."""

    name: str
    """For messages."""
    dataset: str
    """The data set that it was trained on; all models of it fit the same images."""
    outputs: Outputs
    geometry: Geometry
    advice: str | None = None
    """What to do if labels are none of its classes."""


def network_of(entry: ModelEntry, size: str | None = None) -> Network:
    """Return what is known of a model.

    Raises:
        UsageError: if nothing says the size of its images.
    """
    return Network(entry.name, entry.dataset, outputs_of(entry), geometry_of(entry, size))


def network_like(protocol: Protocol, size: str | None = None) -> Network:
    """Return what is known of the networks that a protocol evaluates.

    Raises:
        UsageError: if their classes or the size of their images are not known.
    """
    samples, folder = protocol.samples, protocol.samples.folder
    dataset = protocol.models_of or samples.dataset
    if folder is not None:
        outputs, own = Outputs(len(folder.classes), folder.classes), folder.geometry
    else:
        told, seen = outputs_for(dataset), geometry_for(samples.source) or geometry_for(dataset)
        if told is None or seen is None:
            raise UsageError(
                f"expected a protocol of networks with known classes and sizes, got {protocol.key} of {dataset}; name "
                "one of its networks with --model"
            )
        outputs, own = told, seen
    geometry = own if size is None else read_size(size, own.channels, own.interpolation)
    advice = "for classes of your own, name the network that was trained on them: --model file:ENTRY.toml"
    return Network(f"the networks of {dataset}", dataset, outputs, geometry, advice)
