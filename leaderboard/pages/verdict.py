"""Says in words what a model's runs found, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from bench.core.schemas.folder import ImageFolder
from bench.core.schemas.records import RunRecord, Summary
from bench.core.schemas.spec import MetricSpec
from bench.core.storage.stored_run import StoredRun
from bench.core.text import counted
from leaderboard.drawing.strips import class_name
from leaderboard.records.rows import read_rows

FEW = 20
"""Correct images below which an interval is wide."""

SURE = 0.9
"""Confidence from which a class other than the label makes the label doubtful."""

LISTED = 10
"""Doubtful labels that a page lists."""

NONE = (
    "No image is classified correctly, so that nothing can be measured. The classes may be in another order, or the "
    "normalisation or the size may not be the network's."
)


class Doubt(NamedTuple):
    """An image that the network surely sees as another class."""

    file: str
    label: str
    seen: str
    confidence: float


class Words(NamedTuple):
    """What a page says about runs, beside its numbers."""

    found: str
    todo: tuple[str, ...]
    doubts: tuple[Doubt, ...]
    names: Mapping[str, str]
    """Files of the images by sample id; empty where the images are a data set's."""


def in_words(runs: Sequence[StoredRun]) -> Words:
    """Return what the runs of one model under one protocol found.

    Args:
        runs: the runs in the order in which `bench run` finishes them, the floor first.
    """
    folder = folder_of(runs[-1])
    ids = () if folder is None else _ids(runs[-1], folder)
    names = {} if folder is None else {name: each.file for name, each in zip(ids, folder.files, strict=True)}
    record, floor, worst = runs[-1].record, _floor(runs), _worst(runs)
    doubts = _doubts(record, read_rows(runs[-1]), names)
    return Words(
        _found(floor, worst) if record.correct else NONE, tuple(_todo(record, floor, worst, doubts)), doubts, names
    )


def folder_of(run: StoredRun) -> ImageFolder | None:
    """Return the image files of a run.

    It is None if the images are those of a data set.
    """
    protocol = run.protocol()
    return None if protocol is None else protocol.samples.folder


def _ids(run: StoredRun, folder: ImageFolder) -> list[str]:
    protocol = run.protocol()
    return [] if protocol is None else protocol.samples.ids()[: len(folder.files)]


def _primary(record: RunRecord) -> Summary:
    return record.headline[record.spec.primary_metric]


def _floor(runs: Sequence[StoredRun]) -> RunRecord | None:
    return next((run.record for run in runs if run.record.spec.attack.name == run.record.spec.protocol.floor), None)


def _worst(runs: Sequence[StoredRun]) -> RunRecord | None:
    """Return the run of the strongest attack other than the floor.

    It is None if no attack has a mean.
    """
    found = [run.record for run in runs if run.record.spec.attack.name != run.record.spec.protocol.floor]
    known = [(mean, record) for record in found if (mean := _primary(record).mean) is not None]
    if not known:
        return None
    higher = known[0][1].spec.primary.higher_is == "more-robust"
    return (min if higher else max)(known, key=lambda each: each[0])[1]


def _beaten(floor: RunRecord | None, worst: RunRecord | None, metric: MetricSpec | None = None) -> bool:
    """Return whether an attack left clearly less than random noise.

    By default the primary metric decides. A metric without a direction decides nothing.
    """
    if floor is None or worst is None:
        return False
    metric = metric or worst.spec.primary
    noise, attacked = floor.headline.get(metric.name), worst.headline.get(metric.name)
    if noise is None or attacked is None or metric.higher_is not in ("more-robust", "less-robust"):
        return False
    if attacked.n < 2:  # one image has no interval
        return False
    if noise.low is None or noise.high is None or attacked.low is None or attacked.high is None:
        return False
    return attacked.high < noise.low if metric.higher_is == "more-robust" else attacked.low > noise.high


def _found(floor: RunRecord | None, worst: RunRecord | None) -> str:
    if worst is None:
        return "No attack was measured here but random noise, which does not look for weak places."
    name, left = worst.spec.primary_metric, _interval(_primary(worst))
    text = f"Under {worst.spec.attack.name}, {name} between the heatmaps before and after is {left} on average"
    if floor is not None and _primary(floor).mean is not None:
        text += f"; random noise of the same size leaves {_interval(_primary(floor))}"
    if _beaten(floor, worst):
        return f"{text}. So a change that nobody sees can steer the explanation, although the predicted class stays."
    if _primary(worst).n < 2:
        return f"{text}. One image is too few to say more."
    others = [metric for metric in worst.spec.metrics if metric.name != name and _beaten(floor, worst, metric)]
    but = f", but {worst.spec.attack.name} did by {', '.join(each.name for each in others)}" if others else ""
    return f"{text}. So by {name} no attack here did clearly more damage than random noise{but}."


def _todo(record: RunRecord, floor: RunRecord | None, worst: RunRecord | None, doubts: Sequence[Doubt]) -> list[str]:
    found = []
    if doubts:
        found.append("Look at the labels below: the network surely sees another class there.")
    if record.correct < FEW:
        few = f"Measure more images: only {counted(record.correct, 'image')}"
        why = f" of {record.samples} counted, because the network must classify them correctly"
        found.append(f"{few}{why if record.correct < record.samples else ' counted'}, so that the intervals are wide.")
    if _beaten(floor, worst):
        found.append(
            "Do not take a single heatmap of this network as evidence for a decision. Compare with other explanation "
            "methods (`--protocol` with integrated gradients or SmoothGrad), and with a network that is trained "
            "against such changes."
        )
    elif worst is not None:
        found.append("Try stronger searches before you rely on it: more attacks (`--attack auto`), or `bench audit`.")
    found.extend(["Read the flags below: each says what a number may hide."] if record.flags else [])
    return found


def _doubts(record: RunRecord, rows: pd.DataFrame, names: Mapping[str, str]) -> tuple[Doubt, ...]:
    """Return a user's images whose labels the network doubts, surest first."""
    wrong = rows[(rows["label"] != rows["predicted_before"]) & (rows["confidence_before"] >= SURE)]
    first = wrong.sort_values("confidence_before", ascending=False).head(LISTED) if names else wrong.head(0)
    found = first[["sample_id", "label", "predicted_before", "confidence_before"]].to_numpy(dtype=object)
    return tuple(
        Doubt(names[str(sample)], class_name(record, int(label)), class_name(record, int(seen)), float(confidence))
        for sample, label, seen, confidence in found
    )


def _interval(summary: Summary) -> str:
    if summary.mean is None:
        return "not defined"
    if summary.n == 1:
        return f"{summary.mean:.2f}"
    return f"{summary.mean:.2f} [{summary.low:.2f}, {summary.high:.2f}]"
