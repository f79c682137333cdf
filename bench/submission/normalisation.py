"""Normalisations that a network expects, read from numbers or a name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bench import registry
from bench.core.contracts import Dataset
from bench.core.errors import UsageError
from model_zoo.foreign.names import Normalisation

GREY_LEVELS = 255


def habits(dataset: str) -> Mapping[str, Normalisation]:
    """Return the usual normalisations of a data set by name.

    They are the data set's own normalisation and the common ones. Images of one's own count as RGB.
    """
    own: type[Dataset] | None = registry.load("datasets", dataset) if dataset in registry.names("datasets") else None
    channels = 3 if own is None else len(own.mean)
    usual = {
        "none": Normalisation((0.0,) * channels, (1.0,) * channels),
        "half": Normalisation((0.5,) * channels, (0.5,) * channels),
        **({} if own is None else {dataset: Normalisation(own.mean, own.std)}),
        "grey-levels": Normalisation((0.0,) * channels, (1 / GREY_LEVELS,) * channels),
    }
    if channels == 3:
        usual["imagenet"] = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return usual


MEANINGS = {
    "none": "pixels in [0, 1] as they are",
    "half": "pixels in [-1, 1]",
    "grey-levels": "pixels in 0 to 255",
    "imagenet": "the numbers of ImageNet",
}


def choices(dataset: str) -> str:
    """Return the names that `--mean` accepts, with their meaning."""
    named = [f"{name} ({MEANINGS.get(name, 'its usual numbers')})" for name in habits(dataset)]
    return f"--mean {', '.join(named)}, or numbers R,G,B with --std"


def parse(mean: str, std: str, dataset: str) -> Normalisation | None:
    """Return the normalisation from `--mean` and `--std`, None if both are empty.

    Raises:
        UsageError: if they are neither a name nor numbers, or numbers that no network can have.
    """
    if not mean and not std:
        return None
    if (habit := habits(dataset).get(mean)) is not None:
        if std:
            raise UsageError(f"expected no --std beside --mean {mean}, which says both, got {std}; leave it out")
        return habit
    numbers = [_numbers(text, option, dataset) for text, option in ((mean, "--mean"), (std, "--std")) if text]
    if len(numbers) < 2:
        raise UsageError(f"expected --mean and --std together, got one of them; write {choices(dataset)}")
    found = Normalisation(*numbers)
    if (objection := implausible(found)) is not None:
        raise UsageError(objection)
    return found


def implausible(given: Normalisation) -> str | None:
    """Return why a normalisation is impossible, or None if it is possible."""
    mean, std = (_few(values) for values in given)
    if min(given.std) <= 0:
        return (
            f"expected --std above 0, by which pixels are divided, got {std}; write --mean none for a network that "
            "takes pixels in [0, 1] as they are"
        )
    if max(given.std) > 1 or max(map(abs, given.mean)) > 1:
        divided = [_few([value / GREY_LEVELS for value in values]) for values in given]
        return (
            "expected mean and std in pixel units, where 1 is the full range, got values of 0 to 255, mean "
            f"{mean}, std {std}; divide both by 255: --mean {divided[0]} --std {divided[1]}"
        )
    return None


def _few(values: Sequence[float]) -> str:
    return ",".join(f"{value:.4g}" for value in values)


def _numbers(text: str, option: str, dataset: str) -> tuple[float, ...]:
    channels = len(habits(dataset)["none"].mean)
    try:
        numbers = tuple(float(word) for word in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise UsageError(
            f"expected {option} as numbers with commas, such as 0.5,0.5,0.5, got {text!r}; or write {choices(dataset)}"
        )
    if len(numbers) not in {1, channels}:
        raise UsageError(
            f"expected {channels} numbers of {option}, as {dataset} has channels, got {len(numbers)}; correct it"
        )
    return numbers if len(numbers) == channels else numbers * channels
