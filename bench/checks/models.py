"""Checks models against their entries.

Functions return answers; none of them prints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import registry
from bench.checks.check import Check, failure
from bench.core.errors import (
    EnvironmentFault,
    IntegrityError,
    ModelOutputError,
    NetworkError,
    UnreachableError,
)
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component

if TYPE_CHECKING:
    import torch

    from bench.core.contracts import Split

FULL_TOLERANCE = 0.001
"""0.1 points: other kernels round differently, which flips the few images that lie on the border of two classes."""

CONFIDENCE = 0.999
"""Level of the binomial interval for a count on a few images: one honest model in a thousand falls outside."""

USUAL_IMAGES = 10_000
"""Assumed number of images of a claimed accuracy whose authors name none: most test sets have this size."""

SMALL_SETS = {"cifar10": "foolbox-cifar10", "mnist": "foolbox-mnist", "fashion-mnist": "foolbox-fashion-mnist"}
"""Images that need no data folder, per dataset."""


def verify_model(reference: str, *, device: torch.device, skip: bool = False) -> list[Check]:
    """Check a model's weights, its network and its clean accuracy.

    The weights are fetched where needed, and the accuracy is measured again.

    Args:
        reference: a model as for `bench run`.
        device: where to compute.
        skip: whether to skip missing images, and weights that cannot be downloaded, instead of failing.
    Raises:
        UsageError: if the model does not exist, or its entry is not valid.
        EnvironmentFault: if the images are missing or damaged.
    """
    from model_zoo.build import build
    from model_zoo.hub import resolve

    try:
        entry, _, path = resolve(reference)
        size = f"{entry.weights.size} bytes, sha256 {entry.weights.sha256[:12]}…"
        checks = [Check(reference, "weights", True, f"{path.name}: {size}")]
        model = build(entry, registry.load("architectures", entry.architecture.name), path, device=device)
    except UnreachableError as error:
        skipped = Check(reference, "weights", True, str(error), skipped=True)
        return [skipped if skip else failure(reference, "model", error)]
    except (IntegrityError, NetworkError, ModelOutputError) as error:
        return [failure(reference, "model", error)]
    try:
        return [*checks, _check_accuracy(reference, entry, model, device)]
    except ModelOutputError as error:
        return [*checks, failure(reference, "clean accuracy", error)]
    except EnvironmentFault as error:
        if not skip:
            raise
        return [*checks, Check(reference, "clean accuracy", True, str(error), skipped=True)]


def _check_accuracy(reference: str, entry: ModelEntry, model: torch.nn.Module, device: torch.device) -> Check:
    ok, detail = agrees(*measure(entry, model, device), entry)
    return Check(reference, "clean accuracy", ok, detail, 0 if ok else IntegrityError.exit_code)


def measure(entry: ModelEntry, model: torch.nn.Module, device: torch.device) -> tuple[int, int]:
    """Return how many test images are classified correctly, and of how many.

    Uses the full test set where this machine has it, else a small one.
    """
    from model_zoo.logits import check_logits
    from model_zoo.training.data import to_float
    from model_zoo.training.measure import correct

    stored = _images(entry.dataset)
    images = to_float(stored.images)
    check_logits(model, images[:1].to(device), entry.num_classes)
    return int(correct(model, images, stored.labels, device=device).sum()), len(images)


def _images(dataset: str) -> Split:
    """Return the full test set, or else a small one.

    The small one needs no data folder.
    """
    full = registry.instantiate("datasets", Component(name=dataset))
    small = SMALL_SETS.get(dataset)
    chosen = full if small is None or full.is_stored() else registry.instantiate("datasets", Component(name=small))
    split: Split = chosen.load("test")
    return split


def agrees(count: int, images: int, entry: ModelEntry) -> tuple[bool, str]:
    """Return whether a count agrees with an entry's accuracies, and the details.

    `count` of `images` answers are correct; the entry may have a measured and a claimed accuracy. If it was measured on
    the same number of images, these are the same images, and the accuracies may differ by 0.1 points. Otherwise both
    counts are samples, and `count` must lie inside the central 99.9 % of the beta-binomial distribution that the
    entry's count predicts (Jeffreys' prior).
    """
    oks, details = [True], [f"{count} of {images} test images correct"]
    if (recorded := entry.accuracy) is None:
        details.append("the entry has no measured accuracy, which `bench submit run` writes into it")
    elif images == recorded.images:
        oks.append(abs(count / images - recorded.clean) <= FULL_TOLERANCE + 1e-12)
        details.append(f"measured before: {recorded.clean:.2%}, tolerance {FULL_TOLERANCE:.1%}")
    else:
        low, high = expected(images, recorded.clean, recorded.images)
        oks.append(low <= count <= high)
        details.append(f"expected {low} to {high} from the {recorded.clean:.2%} of {recorded.images} measured before")
    if entry.claimed is not None and (claim := entry.claimed.clean) is not None:
        low, high = expected(images, claim, entry.claimed.images or USUAL_IMAGES)
        oks.append(low <= count <= high)
        details.append(f"expected {low} to {high} from the claimed {claim:.2%}")
    return all(oks), ", ".join(details)


def expected(images: int, share: float, of: int) -> tuple[int, int]:
    """Return the expected range of correct answers on `images` images.

    It follows from the share of correct answers on `of` other images.
    """
    from scipy.stats import betabinom

    low, high = betabinom.interval(CONFIDENCE, images, share * of + 0.5, (1 - share) * of + 0.5)
    return int(low), int(high)
