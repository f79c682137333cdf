"""The entry of a model that somebody wants to submit: from answers and a file to a TOML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from bench import registry
from bench.core.contracts import Dataset
from bench.core.errors import UsageError
from bench.core.schemas.entry import ModelEntry, Weights
from bench.core.schemas.protocol import Component, Name
from bench.core.storage.files import sha256_of_file, write_atomic
from bench.core.storage.toml import explain
from model_zoo.foreign.fit import fit
from model_zoo.foreign.names import Checkpoint, KeyReport, Normalisation
from model_zoo.tensors import pack
from model_zoo.weights_file import write_entry


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What only the model's author knows."""

    name: str
    architecture: str
    license: str
    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = "cifar10"
    title: str = ""
    mean: Sequence[float] = ()
    std: Sequence[float] = ()
    """Empty: the checkpoint's own normalisation, else the data set's."""
    epsilon: str | None = None
    source: str = ""
    citation: str = ""
    clean: float | None = None
    images: int = 10_000
    """Test images on which `clean` was measured."""

    def __post_init__(self) -> None:
        try:
            TypeAdapter(Name).validate_python(self.name)  # files are named after it
        except ValidationError as error:
            raise UsageError(f"the model's name: {explain(error)}; choose another with --name") from None


class Converted(NamedTuple):
    """What a conversion left, and how it went; without a path, where the keys do not fit."""

    path: Path | None
    checkpoint: Checkpoint
    report: KeyReport
    params: dict[str, Any]
    normalisation: str


def draft(answers: Answers, weights: Weights) -> ModelEntry:
    """Return the entry of a model.

    Raises:
        UsageError: if an answer is not what an entry may hold.
    """
    dataset: type[Dataset] = registry.load("datasets", answers.dataset)
    accuracy = None if answers.clean is None else {"clean": answers.clean, "images": answers.images}
    content = {
        "name": answers.name,
        "title": answers.title or answers.name,
        "architecture": {"name": answers.architecture, "params": dict(answers.params)},
        "dataset": answers.dataset,
        "num_classes": len(dataset.classes),
        "weights": weights,
        "mean": answers.mean or dataset.mean,
        "std": answers.std or dataset.std,
        "training": {"method": answers.method},
        "epsilon": answers.epsilon,
        "accuracy": accuracy,
        "source": answers.source,
        "license": answers.license,
        "citation": answers.citation,
        "added": datetime.now(UTC).date(),
    }
    try:
        return ModelEntry.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"the entry of {answers.name!r}: {explain(error, ModelEntry)}") from None


def describe_weights(path: Path) -> Weights:
    """Return what an entry must say of safetensors that are already by our names.

    Raises:
        UsageError: if there is no such file, or it is no safetensors by its name.
    """
    if not path.is_file():
        raise UsageError(f"expected weights at {path}, got no file; correct the path")
    try:
        return Weights(file=path.name, sha256=sha256_of_file(path), size=path.stat().st_size)
    except ValidationError as error:
        raise UsageError(f"{explain(error)}; convert a checkpoint with `bench submit convert`") from None


def convert(source: Path, answers: Answers, folder: Path, *, table: str | None = None) -> Converted:
    """Turn somebody's checkpoint into safetensors by our names, and draft its entry.

    Raises:
        UsageError: if the file is not there, or tensors or answers do not fit the architecture.
        IntegrityError: if it holds anything but tensors.
    """
    dataset: type[Dataset] = registry.load("datasets", answers.dataset)
    build = registry.load("architectures", answers.architecture)
    architecture = Component(name=answers.architecture, params=dict(answers.params))
    fitted = fit(source, architecture, build, len(dataset.classes), table=table)
    mean, std, where = _choose(answers, fitted.normalisation)
    if not fitted.report.complete:
        return Converted(None, fitted.checkpoint, fitted.report, fitted.params, where)
    content, weights = pack(fitted.tensors, f"{answers.name}.safetensors")
    entry = draft(replace(answers, params=fitted.params, mean=mean, std=std), weights)
    write_atomic(folder / weights.file, content)
    return Converted(write_entry(entry, folder), fitted.checkpoint, fitted.report, fitted.params, where)


def _choose(answers: Answers, carried: Normalisation | None) -> tuple[Sequence[float], Sequence[float], str]:
    given = (tuple(answers.mean), tuple(answers.std))
    if carried is None:
        where = "as --mean and --std say" if any(given) else f"the data set's ({answers.dataset}), as the file has none"
        return *given, where
    if any(given) and given != tuple(carried):
        raise UsageError(
            f"expected the checkpoint's own normalisation, mean {carried.mean}, std {carried.std}, got mean "
            f"{given[0]}, std {given[1]}; leave out --mean and --std"
        )
    return *carried, "the checkpoint's own"
