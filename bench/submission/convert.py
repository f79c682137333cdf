"""The draft entry of a submitted model, from answers and weights."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from bench import registry
from bench.core.contracts import Dataset
from bench.core.errors import FEW, UnknownNameError, UsageError, suggestion
from bench.core.schemas.entry import ModelEntry, Weights
from bench.core.schemas.geometry import Geometry
from bench.core.schemas.protocol import Component, Name
from bench.core.storage.files import sha256_of_file, write_atomic
from bench.core.storage.toml import explain
from bench.submission.normalisation import habits, implausible
from model_zoo.build import BuildNetwork
from model_zoo.foreign.fit import Fitted, alike, fit
from model_zoo.foreign.names import Checkpoint, Normalisation
from model_zoo.tensors import pack
from model_zoo.weights_file import write_entry

LIKE, SURELY = 0.5, 0.9
"""Least shares of equal shapes to propose an architecture: where most tensors do not fit, and where most do."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Facts that only the model's author knows."""

    name: str
    architecture: str
    license: str
    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    dataset: str = "cifar10"
    classes: tuple[str, ...] = ()
    """Names of the outputs, for a data set that is not registered."""
    geometry: Geometry | None = None
    """How the network wants pictures of any size; None if its data set or architecture says it."""
    title: str = ""
    normalisation: Normalisation | None = None
    """None if not known yet."""
    epsilon: str | None = None
    source: str = ""
    citation: str = ""
    clean: float | None = None
    """Test accuracy that the authors claim."""
    images: int | None = None
    """Number of test images on which they measured it."""

    def __post_init__(self) -> None:
        try:
            TypeAdapter(Name).validate_python(self.name)  # file names contain it
        except ValidationError as error:
            raise UsageError(f"the model's name: {explain(error)}; choose another with --name") from None

    @property
    def num_classes(self) -> int:
        """Return the number of outputs.

        Raises:
            UsageError: if neither classes are named, nor the data set is registered.
        """
        if self.classes:
            return len(self.classes)
        dataset: type[Dataset] = registry.load("datasets", self.dataset)
        return len(dataset.classes)


class Converted(NamedTuple):
    """The result of a conversion and its report.

    If the keys do not fit, there is no path.
    """

    path: Path | None
    checkpoint: Checkpoint
    fitted: Fitted
    normalisation: str


def write_draft(answers: Answers, weights: Weights, folder: Path) -> Path:
    """Write the entry of a model and return its path.

    If mean and std are not known, the entry lacks them, and nothing can run it.

    Raises:
        UsageError: if an answer is not allowed in an entry.
    """
    claimed = None if answers.clean is None else {"clean": answers.clean, "images": answers.images}
    mean, std = answers.normalisation or habits(answers.dataset)["none"]
    content = {
        "name": answers.name,
        "title": answers.title or answers.name,
        "architecture": {"name": answers.architecture, "params": dict(answers.params)},
        "dataset": answers.dataset,
        "num_classes": answers.num_classes,
        "classes": answers.classes,
        "geometry": answers.geometry,
        "weights": weights,
        "mean": mean,
        "std": std,
        "training": {"method": answers.method},
        "epsilon": answers.epsilon,
        "claimed": claimed,
        "source": answers.source,
        "license": answers.license,
        "citation": answers.citation,
        "added": datetime.now(UTC).date(),
    }
    try:
        entry = ModelEntry.model_validate(content)
    except ValidationError as error:
        raise UsageError(f"the entry of {answers.name!r}: {explain(error, ModelEntry)}") from None
    return write_entry(entry, folder, without=() if answers.normalisation else ("mean", "std"))


def describe_weights(path: Path) -> Weights:
    """Return hash, size and place of safetensors with our tensor names.

    Raises:
        UsageError: if the file is missing, or its name does not end like safetensors.
    """
    if not path.is_file():
        raise UsageError(f"expected weights at {path}, got no file; correct the path")
    try:
        return Weights(file=path.name, sha256=sha256_of_file(path), size=path.stat().st_size)
    except ValidationError as error:
        raise UsageError(f"{explain(error)}; convert a checkpoint with `bench submit convert`") from None


def convert(checkpoint: Checkpoint, answers: Answers, folder: Path, *, whose: str) -> Converted:
    """Turn a checkpoint into safetensors with our names, and draft the entry.

    Args:
        checkpoint: the tensors with their original names.
        answers: facts that the file does not hold.
        folder: place for weights and entry.
        whose: name of the file, for errors.
    Raises:
        UsageError: if the answers do not fit the architecture or an entry.
    """
    build = architecture(answers.architecture)
    component = Component(name=answers.architecture, params=dict(answers.params))
    fitted = fit(checkpoint, component, build, answers.num_classes, whose=whose)
    where = _agreed(answers.normalisation, fitted.normalisation)
    if not fitted.report.complete:
        return Converted(None, checkpoint, fitted, where)
    content, weights = pack(fitted.tensors, f"{answers.name}.safetensors")
    path = write_draft(replace(answers, params=fitted.params), weights, folder)
    write_atomic(folder / weights.file, content)
    return Converted(path, checkpoint, fitted, where)


def architecture(name: str) -> BuildNetwork:
    """Return an architecture's `build`.

    Raises:
        UsageError: if the name is unknown; the error lists the known ones and says how to add one.
    """
    try:
        build: BuildNetwork = registry.load("architectures", name)
    except UnknownNameError:
        known = registry.names("architectures")
        raise UsageError(
            f"expected one of the architectures {', '.join(known)}, got {name!r}; {suggestion(name, known)} To add it, "
            "write a file with VERSION and build(num_classes, *, …) in model_zoo/architectures, or in a package of "
            "your own with the entry point attribution_bench.architectures"
        ) from None
    return build


def misfit(answers: Answers, converted: Converted, file: str) -> str:
    """Return the error text for a checkpoint that does not fit.

    It names the tensors that do not fit and the options that may help.
    """
    checkpoint, build = converted.checkpoint, architecture(answers.architecture)
    came = converted.fitted.report.misfit
    expected = f"expected every tensor of {answers.architecture} in {file} and no other, got {came}"
    if (other := _other_architecture(answers, converted)) is not None:
        return f"{expected}; {other}"
    known, told = inspect.signature(build).parameters.values(), converted.fitted.params
    params = [f"{each.name} ({told.get(each.name, each.default)})" for each in known if each.kind is each.KEYWORD_ONLY]
    remedies = [f"--set takes {', '.join(params)}" if params else f"{answers.architecture} takes no --set"]
    if 1 < len(checkpoint.parts) <= FEW:
        last = checkpoint.parts[-1].rpartition(".")[2]
        remedies.append(
            f"the names begin differently: choose a part by --table {' or '.join(checkpoint.parts)}, or leave one out, "
            f"such as --drop {last}."
        )
    if checkpoint.others:
        remedies.append(f"--table takes {', '.join(checkpoint.others[:FEW])}, too")
    remedies.append(f"--architecture takes {', '.join(registry.names('architectures'))}")
    return f"{expected}; {'; '.join(remedies)}"


def _other_architecture(answers: Answers, converted: Converted) -> str | None:
    """Return which registered architectures fit a checkpoint better.

    None if the named one fits best.
    """
    builds = {name: architecture(name) for name in registry.names("architectures")}
    classes = answers.num_classes
    found = alike(converted.checkpoint, builds, classes)
    own = max((each.share for each in found if each.architecture == answers.architecture), default=0.0)
    hopeless = converted.fitted.report.mostly_other
    better = [each for each in found if each.share > max(own, LIKE if hopeless else SURELY)][:3]
    if better:
        named = ", ".join(f"{each.architecture} ({each.same} of {each.of} tensors)" for each in better)
        return f"it probably has another architecture: by shapes these fit better: {named}; give --architecture"
    if hopeless and own < LIKE:
        return "most tensors do not fit, and no architecture here has their shapes; docs/submit.md says how to add one"
    return None


def _agreed(given: Normalisation | None, carried: Normalisation | None) -> str:
    """Return the origin of a normalisation as text.

    Refuse a normalisation that contradicts the checkpoint's own.
    """
    if given is None:
        return "not known: the file has none"
    if carried is None:
        return "as --mean says"
    objection = implausible(carried)
    if given == carried and objection is not None:
        raise UsageError(f"the checkpoint's own normalisation: {objection}")
    if given != carried and objection is None:
        raise UsageError(
            f"expected the checkpoint's own normalisation, mean {carried.mean}, std {carried.std}, got mean "
            f"{given.mean}, std {given.std}; leave out --mean and --std"
        )
    return "the checkpoint's own" if given == carried else "as --mean says, in place of the checkpoint's own"
