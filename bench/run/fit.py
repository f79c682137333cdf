"""Refuses networks that a protocol does not fit, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Sequence

from bench import registry
from bench.core.errors import UsageError, suggestion
from bench.core.schemas.announced import Announced
from bench.core.schemas.protocol import Protocol


def refuse_misfit(protocol: Protocol, name: str, known: Announced) -> None:
    """Raise unless a network fits a protocol, as far as is known.

    Args:
        protocol: whose images the network will see.
        name: of the network.
        known: what its library or its entry says.
    Raises:
        UsageError: if it classifies another data set, has another number of classes, or takes no images of this size.
    """
    _check_dataset(protocol, name, known.dataset)
    classes = None if known.num_classes is None else _classes(protocol)
    size = None if known.only_size is None else _size(protocol)
    if classes is not None and classes != known.num_classes:
        raise UsageError(
            f"expected a network of {classes} classes for the protocol {protocol.key}, got {name} with "
            f"{known.num_classes}; choose weights of {classes} classes"
        )
    if size is not None and known.only_size is not None and size != known.only_size:
        wanted, taken = (f"{height}x{width}" for height, width in (size, known.only_size))
        raise UsageError(
            f"expected a network that takes {wanted} pixels for the protocol {protocol.key}, got {name}, which takes "
            f"only {taken}; choose another, or measure images of your own with --images FOLDER"
        )


def _classes(protocol: Protocol) -> int | None:
    from bench.images.classes import outputs_for

    folder = protocol.samples.folder
    outputs = outputs_for(protocol.models_of or protocol.samples.dataset)
    return None if folder is not None or outputs is None else outputs.number


def _size(protocol: Protocol) -> tuple[int, int] | None:
    from bench.images.geometry import geometry_for

    folder = protocol.samples.folder
    geometry = geometry_for(protocol.samples.source) if folder is None else folder.geometry
    return None if geometry is None else geometry.crop


def _check_dataset(protocol: Protocol, name: str, dataset: str | None) -> None:
    wanted = protocol.models_of or protocol.samples.dataset
    if dataset is None or dataset == wanted:
        return
    known = [*registry.names("datasets"), *_fitting()]
    came = f"{name} of {dataset}" if dataset in known else f"{name} of the unknown data set {dataset!r}"
    raise UsageError(
        f"expected a model of {wanted} for the protocol {protocol.key}, got {came}; {_remedy(dataset, known)}"
    )


def _remedy(dataset: str, known: Sequence[str]) -> str:
    """Return a hint to protocols that fit models of a data set."""
    if dataset not in known and (meant := suggestion(dataset, known)):
        return meant
    if dataset not in (fitting := _fitting()):
        return f"no protocol here has models of {dataset}"
    return f"choose another protocol, such as {fitting[dataset]}"


def _fitting() -> dict[str, str]:
    """Return the first protocol, by name, for models of each data set.

    A protocol that ranks comes before others.
    """
    rules = [registry.load("protocols", name) for name in reversed(registry.names("protocols"))]
    rules.sort(key=lambda each: each.rankable)  # the last one of a data set is returned
    return {each.models_of or each.samples.dataset: each.key for each in rules}
