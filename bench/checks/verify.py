"""Checks models against their entries, and records against their rows.

Functions return answers; none of them prints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import registry
from bench.checks.derived_flags import check_flags
from bench.checks.submitted_images import check_images
from bench.core.errors import (
    BenchError,
    EnvironmentFault,
    IntegrityError,
    ModelOutputError,
    NetworkError,
    UnknownNameError,
    UnreachableError,
    UsageError,
)
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import OUTSIDE, Component, Protocol
from bench.core.schemas.records import Summary
from bench.core.storage.folders import cache_folder
from bench.core.storage.store import Store, StoredRun, read_run
from bench.run.record.summary import summarise

if TYPE_CHECKING:
    import torch

    from bench.core.contracts import Split

FULL_TOLERANCE = 0.001
"""0.1 points: other kernels round differently, which flips the few images that lie on the border of two classes."""

CONFIDENCE = 0.999
"""Level of the binomial interval for a count on a few images: one honest model in a thousand falls outside."""

USUAL_IMAGES = 10_000
"""Assumed number of images of a claimed accuracy whose authors name none: most test sets have this size."""

SUMMARY_TOLERANCE = 1e-9
"""Allowed relative and absolute difference of a summary: other processors add in another order."""

SMALL_SETS = {"cifar10": "foolbox-cifar10", "mnist": "foolbox-mnist", "fashion-mnist": "foolbox-fashion-mnist"}
"""Images that need no data folder, per dataset."""


class Check(NamedTuple):
    """One question and its answer.

    `exit_code` is 0 if ok, else the exit code of the error.
    """

    subject: str
    question: str
    ok: bool
    detail: str
    exit_code: int = 0
    skipped: bool = False
    """Whether this machine could not answer the question; `ok` then only says that nothing failed."""


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
        return [skipped if skip else _failure(reference, "model", error)]
    except (IntegrityError, NetworkError, ModelOutputError) as error:
        return [_failure(reference, "model", error)]
    try:
        return [*checks, _check_accuracy(reference, entry, model, device)]
    except ModelOutputError as error:
        return [*checks, _failure(reference, "clean accuracy", error)]
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


def verify_results(root: Path) -> list[Check]:
    """Check every record below a results folder.

    Its name, rows, images, flags and protocol must fit the record.

    Raises:
        UsageError: if `root` is not a folder, or holds no records.
    """
    paths = sorted(root.glob("*/*/*/*.json"))
    if not paths:
        raise UsageError(f"expected <protocol>/<model>/<attack>/*.json below {root}, got none; name a results folder")
    return [check for path in paths for check in _check_run(root, path)]


def _check_run(root: Path, path: Path) -> list[Check]:
    subject = str(path.relative_to(root))
    try:
        run = read_run(path)
    except IntegrityError as error:
        return [_failure(subject, "record", error)]
    questions = {
        "record": _check_place,
        "protocol": _check_protocol,
        "showcase": _check_showcase,
        "rows": _check_rows,
        "threat": _check_threat,
        "summaries": _check_summaries,
        "flags": check_flags,
        "second run": _check_confirmation,
    }
    found = [_ask(subject, question, partial(check, run)) for question, check in questions.items()]
    return [*found, _check_images(subject, run)] if run.record.spec.attack.is_external else found


def _check_images(subject: str, run: StoredRun) -> Check:
    """Check submitted images as far as this machine has them."""
    try:
        detail, checked = check_images(run, _protocol_of(run), cache_folder() / "work")
    except (IntegrityError, UnknownNameError) as error:
        return _failure(subject, "images", error)
    return Check(subject, "images", True, detail, skipped=not checked)


def _ask(subject: str, question: str, check: Callable[[], str]) -> Check:
    try:
        return Check(subject, question, True, check())
    except (IntegrityError, UnknownNameError) as error:
        return _failure(subject, question, error)


def _failure(subject: str, question: str, error: BenchError) -> Check:
    return Check(subject, question, False, str(error), error.exit_code)


def _check_place(run: StoredRun) -> str:
    expected = Store(Path()).path(run.record.spec)
    if (place := Path(*run.path.parts[-4:])) != expected:
        raise IntegrityError(f"expected the record at {expected}, got it at {place}; move it there")
    return f"run {run.record.run_id[:12]}"


def _check_protocol(run: StoredRun) -> str:
    recorded = run.record.spec.protocol
    protocol = _protocol_of(run)
    parts = ("sha256", "rankable", "floor", "reference")
    if any(getattr(protocol, part) != getattr(recorded, part) for part in parts):
        raise IntegrityError(
            f"expected {recorded.key} with the sha256 {protocol.sha256[:12]}…, got a record of "
            f"{recorded.sha256[:12]}…; a protocol never changes: restore its file, or run again"
        )
    ids, known = list(run.rows()["sample_id"]), protocol.samples.ids()
    if run.record.spec.attack.is_external:
        if ids != [name for name in known if name in set(ids)]:
            raise IntegrityError(f"expected samples of {recorded.key} in their order, got others; submit them again")
    elif ids != known[: len(ids)]:
        raise IntegrityError(f"expected the first {len(ids)} samples of {recorded.key}, got others; run again")
    return f"{recorded.key}, sha256 {recorded.sha256[:12]}…"


def _protocol_of(run: StoredRun) -> Protocol:
    """Return the registered protocol of a run, or else the stored copy."""
    key = run.record.spec.protocol.key
    beside = None if key in registry.names("protocols") else run.protocol()
    found: Protocol = registry.load("protocols", key) if beside is None else beside
    return found


def _check_showcase(run: StoredRun) -> str:
    if run.showcase() is None:
        return "none" if run.record.showcase_sha256 is None else "not kept"
    return f"{len(run.record.showcase)} images"


def _check_confirmation(run: StoredRun) -> str:
    note = run.confirmation()
    return "none" if note is None else f"agrees, {note.environment.started} on {note.environment.hardware}"


def _check_rows(run: StoredRun) -> str:
    rows, record = run.rows(), run.record
    counted = {
        "samples": (len(rows), record.samples),
        "samples that were asked for": (len(rows), record.spec.samples.count),
        "distinct samples": (rows["sample_id"].nunique(), record.samples),
        "correct": (int(rows["correct"].sum()), record.correct),
        "infeasible": (int((~rows["feasible"].astype(bool)).sum()), record.infeasible),
    }
    for what, (count, recorded) in counted.items():
        if count != recorded:
            raise IntegrityError(f"expected {recorded} {what} as recorded, got {count} in {run.rows_path}; run again")
    return f"{len(rows)} rows, sha256 {record.rows_sha256[:12]}…"


def _check_threat(run: StoredRun) -> str:
    threat, rows = run.record.spec.threat, run.rows()
    # Negated, so that NaN counts as outside.
    outside = rows[~(rows[threat.norm] <= float(threat.epsilon) + OUTSIDE)]
    if len(outside):
        sample, length = outside.iloc[0]["sample_id"], outside.iloc[0][threat.norm]
        raise IntegrityError(
            f"expected {threat.norm} of at most {threat.epsilon} as the run's threat model has it, got {length:g} at "
            f"{sample} ({len(outside)} rows) in {run.rows_path}; run again"
        )
    return f"{threat.norm} of at most {threat.epsilon}"


def _check_summaries(run: StoredRun) -> str:
    recorded = run.record.summaries
    computed = summarise(run.rows(), [metric.name for metric in run.record.spec.metrics])
    for which, summaries in computed.items():
        if (names := recorded.get(which, {}).keys()) != summaries.keys():
            raise IntegrityError(f"expected summaries ({which}) of {sorted(summaries)}, got {sorted(names)}; run again")
        for name, summary in summaries.items():
            if not _equal(summary, recorded[which][name]):
                raise IntegrityError(
                    f"expected {name} ({which}) as the rows give it, {summary}, got {recorded[which][name]}; run again"
                )
    return f"{len(computed['all'])} metrics, recomputed from the rows"


def _equal(one: Summary, other: Summary) -> bool:
    if (one.n, one.n_undefined) != (other.n, other.n_undefined):
        return False
    pairs = [(one.mean, other.mean), (one.low, other.low), (one.high, other.high)]
    return all(
        a is b if a is None or b is None else math.isclose(a, b, rel_tol=SUMMARY_TOLERANCE, abs_tol=SUMMARY_TOLERANCE)
        for a, b in pairs
    )
