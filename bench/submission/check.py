"""The checks of a submitted model before it may enter a board.

Each check is one question and is answered with one sentence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bench import registry
from bench.checks.check import Check
from bench.checks.models import CONFIDENCE, SMALL_SETS
from bench.core.compute.rng import Rng
from bench.core.contracts import Dataset
from bench.core.errors import BenchError, IntegrityError, ModelOutputError, UnknownNameError, UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component, Protocol
from bench.images.classes import outputs_for
from bench.images.source import source_of
from bench.run.samples import load_samples
from bench.submission.measure import confirm
from bench.submission.origin import needed
from model_zoo.build import build
from model_zoo.derivatives.prepare import surrogate
from model_zoo.hub import resolve
from model_zoo.logits import check_logits, left_out, unsquashed
from model_zoo.training.data import to_float
from model_zoo.training.measure import correct
from model_zoo.weights_file import Resolved

BETA = 50.0
"""Sharpness of the surrogate, as in the protocols."""

SAME_LOGIT = 1e-3
"""Relative tolerance for kernels that round differently per batch size. A network that mixes its batch differs by far
more."""


class Subject(NamedTuple):
    """A submitted model, built, and the images for its checks."""

    found: Resolved
    model: nn.Module
    images: Tensor
    labels: Tensor
    device: torch.device

    @property
    def entry(self) -> ModelEntry:
        """The model's entry."""
        return self.found.entry

    def right(self, images: Tensor) -> Tensor:
        """(N,) bool: which images in this form are classified correctly."""
        return correct(self.model, images, self.labels, device=self.device)


def check_submission(reference: str, *, device: torch.device, protocol: str | None = None) -> list[Check]:
    """Return the answers to all questions about a model.

    A question is left out if it needs an earlier answer that failed.

    Args:
        reference: as for `bench run`.
        device: where to compute.
        protocol: the protocol whose samples are used; default: the small image set of its dataset.
    """
    checks: list[Check] = []

    def ask(question: str, answer: Callable[[], str]) -> bool:
        try:
            checks.append(Check(reference, question, True, answer()))
        except BenchError as error:
            checks.append(Check(reference, question, False, str(error), error.exit_code))
        return checks[-1].ok

    resolved: list[Resolved] = []
    if not ask("entry and weights", lambda: _resolve(reference, resolved)):
        return checks
    found = resolved[0]
    ask("name", lambda: _check_name(found.entry))
    ask("licence and citation", lambda: _check_rights(found.entry))
    ask("normalisation", lambda: _check_normalisation(found.entry))
    models: list[nn.Module] = []
    if not ask("architecture", lambda: _build(found, device, models)):
        return checks
    shown: list[Tensor] = []
    if not ask("samples", lambda: _load(found.entry.dataset, protocol, shown)):
        return checks
    subject = Subject(found, models[0], shown[0], shown[1], device)
    if ask("logits", partial(_check_logits, subject)):
        ask("second derivatives", partial(_check_curvature, subject))
        ask("deterministic", partial(_check_deterministic, subject))
        ask("[0, 1] contract", partial(_check_contract, subject))
        ask("clean accuracy", partial(_check_accuracy, subject))
    return checks


def _resolve(reference: str, into: list[Resolved]) -> str:
    into.append(resolve(reference))
    entry, _, path = into[0]
    return f"valid; {path.name}: {entry.weights.size} bytes, sha256 {entry.weights.sha256[:12]}…, as promised"


def _check_name(entry: ModelEntry) -> str:
    try:
        registered: ModelEntry = registry.load("models", entry.name)
    except UnknownNameError:
        return f"{entry.name} is free"
    if registered.weights.sha256 != entry.weights.sha256:
        raise UsageError(f"expected a free name, got {entry.name}, the name of a registered model; choose another")
    return f"{entry.name} is registered with these very weights"


def _check_rights(entry: ModelEntry) -> str:
    if not entry.citation.strip():
        raise UsageError(
            "expected a citation, got none; add what users of the model should cite to the entry (or --citation)"
        )
    return f"{entry.license}; {entry.citation.split()[0][:60]}"


def _check_normalisation(entry: ModelEntry) -> str:
    dataset, outputs = _registered(entry.dataset), outputs_for(entry.dataset)
    if dataset is not None and len(entry.mean) != len(dataset.mean):
        raise UsageError(
            f"expected {len(dataset.mean)} channels, as {entry.dataset} has, got {len(entry.mean)}; mend mean and std"
        )
    if outputs is not None and outputs.number != entry.num_classes:
        raise UsageError(f"expected {outputs.number} classes, got num_classes = {entry.num_classes}; mend it")
    if min(entry.mean) < 0 or max(entry.mean) > 1 or max(entry.std) > 1:
        raise UsageError(
            f"expected mean and std in pixel units, where 1 is the full range, got mean {entry.mean}, std {entry.std}; "
            "divide them by 255"
        )
    return f"inside the model: mean {list(entry.mean)}, std {list(entry.std)}"


def _build(found: Resolved, device: torch.device, into: list[nn.Module]) -> str:
    component = found.entry.architecture
    into.append(build(found.entry, registry.load("architectures", component.name), found.path, device=device))
    count = sum(parameter.numel() for parameter in into[0].parameters())
    params = ", ".join(f"{key} {value}" for key, value in component.params.items())
    fits = f"{component.name} ({params or 'defaults'}): all tensors fit and are finite, {count} parameters"
    need = needed(component.name)
    return fits if need is None else f"{fits}; {need}"


def _registered(dataset: str) -> type[Dataset] | None:
    return registry.load("datasets", dataset) if dataset in registry.names("datasets") else None


def _load(dataset: str, protocol: str | None, into: list[Tensor]) -> str:
    if protocol is None and _registered(dataset) is None:
        protocol = _usual_protocol(dataset)
    if protocol is None:
        small = SMALL_SETS.get(dataset, dataset)
        split = registry.instantiate("datasets", Component(name=small)).load("test")
        into[:] = [to_float(split.images), split.labels]
        return f"{len(split.labels)} test images of {small}"
    rules: Protocol = registry.load("protocols", protocol)
    if (evaluates := rules.models_of or rules.samples.dataset) != dataset:
        raise UsageError(f"expected a protocol for models of {dataset}, got {rules.key} of {evaluates}")
    samples = load_samples(rules.samples, source_of(rules.samples))
    into[:] = [samples.images.float(), samples.labels]
    return f"the {len(samples.labels)} samples of {rules.key}"


def _usual_protocol(dataset: str) -> str:
    """Return a ranked protocol for models of a data set.

    Raises:
        UsageError: if there is none, as for images of one's own.
    """
    for name in registry.names("protocols"):
        rules: Protocol = registry.load("protocols", name)
        if rules.models_of == dataset and rules.rankable:
            return name
    raise UsageError(
        f"expected images of {dataset}, got none: no data set or protocol here has this name, and boards rank models "
        "of registered data sets only; write a protocol of your images with `bench protocol init --images FOLDER` and "
        "name it with --protocol, or measure the model with `bench run --images FOLDER`"
    )


def _check_logits(subject: Subject) -> str:
    shape = subject.images[:2].shape
    noise = torch.rand(shape, generator=Rng(0).fork("submission").generator())
    extremes = torch.cat([torch.zeros(shape), torch.ones(shape), noise])
    for part in torch.split(torch.cat([subject.images, extremes]), 250):
        check_logits(subject.model, part.to(subject.device), subject.entry.num_classes)
    return f"finite for {len(subject.images)} images, black, white and noise"


def _check_curvature(subject: Subject) -> str:
    """Build the smooth surrogate as a run does.

    This takes second derivatives and compares them.
    """
    images = subject.images[:2].to(subject.device)
    model = unsquashed(subject.model, images)
    surrogate(model, BETA, images)
    found = f"of a smooth surrogate (sharpness {BETA:g}), which has the network's answers and gradients"
    last = left_out(model)
    return found if last is None else f"{found} before {last}; runs do not rank until forward returns these numbers"


@torch.no_grad()
def _check_deterministic(subject: Subject) -> str:
    images = subject.images[:20].to(subject.device)
    first, again = subject.model(images), subject.model(images)
    if not torch.equal(first, again):
        raise ModelOutputError(
            f"expected equal logits for equal images, got a difference of {(first - again).abs().max():.2g}; "
            "a randomised model cannot be judged by these attacks"
        )
    alone = torch.cat([subject.model(image[None]) for image in images])
    if not torch.allclose(first, alone, rtol=SAME_LOGIT, atol=SAME_LOGIT * float(first.abs().max())):
        raise ModelOutputError(
            f"expected an image's logits not to depend on its batch, got a difference of "
            f"{(first - alone).abs().max():.2g}; evaluate with running statistics"
        )
    return "two passes give equal logits, and an image alone the same as in a batch"


def _check_contract(subject: Subject) -> str:
    """Check that the model works best on pixels in [0, 1].

    Other forms of the pixels must not give a higher accuracy.
    """
    from scipy.stats import binomtest

    entry, dataset = subject.entry, _registered(subject.entry.dataset)
    mean, std = _channels(entry.mean), _channels(entry.std)
    forms = {
        "pixels in 0 to 255": subject.images * 255,
        "images that are normalised already": (subject.images - mean) / std,
        "images without any normalisation": subject.images * std + mean,
    }
    if dataset is not None:
        usual = (subject.images - _channels(dataset.mean)) / _channels(dataset.std)
        forms["images with the data set's own normalisation"] = usual * std + mean
    own = subject.right(subject.images)
    for form, images in forms.items():
        other = subject.right(images)
        gained, lost = int((other & ~own).sum()), int((own & ~other).sum())
        if gained > lost and binomtest(gained, gained + lost, alternative="greater").pvalue < 1 - CONFIDENCE:
            raise IntegrityError(
                f"expected the model at its best on pixels in [0, 1], got {int(other.sum())} of {len(own)} right for "
                f"{form} and {int(own.sum())} for [0, 1]; mend mean and std of the entry"
            )
    return f"{int(own.sum())} of {len(own)} right on pixels in [0, 1], and not more on any other form of them"


def _channels(values: tuple[float, ...]) -> Tensor:
    return torch.tensor(values).view(1, -1, 1, 1)


def _check_accuracy(subject: Subject) -> str:
    return confirm(int(subject.right(subject.images).sum()), len(subject.images), subject.entry)
