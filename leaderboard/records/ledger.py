"""The ledger of the lowest values that any attack reached.

It has one value per network, image and metric, and it is a pure function of the records. What decides whether two
records count together is written in `conditions`.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.core.errors import IntegrityError
from bench.core.schemas.records import LEVEL_MARK
from bench.core.schemas.spec import MetricSpec, RunSpec
from bench.core.storage.files import canonical_json
from bench.core.storage.stored_run import StoredRun
from leaderboard.records.image_sets import ReadTable
from leaderboard.records.selection import newest_weights, of_weights

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

ASIDE = frozenset({"protocol", "model", "attack", "search_attribution", "surrogate", "metrics", "primary_metric"})
"""Parts of a spec that do not decide what a perturbed image is worth: names, what searched, and other metrics."""

LINE_COLUMNS = {
    "protocols": "the protocols that count together: threat, images, attribution, heatmap and metric are equal",
    "model": "name of the model",
    "weights_sha256": "checksum of the network's weights",
    "threat": "norm and radius of the ball",
    "metric": "name of the metric",
    "sample_id": "<data set>/<split>/<index>",
    "value": "the least robust value that any record reached; images that lost their class do not count",
    "attack": "the attack that reached it; of equal values, the one with fewer gradients",
    "version": "the version of that attack",
    "run_id": "the run that reached it",
}
"""Columns of the ledger's table, and what they mean."""


class Reached(NamedTuple):
    """The lowest value on one image, and the run that reached it."""

    sample_id: str
    value: float
    run: StoredRun


@dataclass(frozen=True)
class Account:
    """The lowest values of one metric on one network."""

    model: str
    weights_sha256: str
    protocols: tuple[str, ...]
    """Keys of the protocols whose records count together."""
    conditions: str
    """The values that decide what an image is worth, as `conditions` returns them."""
    threat: str
    """Norm and radius of the ball, such as `linf 8/255`: a run may replace the protocol's radius."""
    metric: MetricSpec
    runs: tuple[StoredRun, ...]
    """The runs that were looked at, those with fewer gradients first, external attacks last."""
    ids: tuple[str, ...]
    """(N,): the images on which any run kept the class and the metric is defined."""
    values: Floats
    """(N,): the least robust value on each image."""
    finders: Integers
    """(N,): the place of the run that reached it."""

    @property
    def mean(self) -> float:
        """Return the mean over the images, NaN without images."""
        return float(self.values.mean()) if len(self.values) else math.nan

    @property
    def reached(self) -> list[Reached]:
        """Return the lowest value of every image."""
        found = zip(self.ids, self.values.tolist(), self.finders.tolist(), strict=True)
        return [Reached(name, value, self.runs[place]) for name, value, place in found]

    @property
    def found_by(self) -> dict[str, int]:
        """Return on how many images each attack reached the lowest value."""
        counts = Counter(titled(self.runs[place].record.spec) for place in self.finders.tolist())
        return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def titled(spec: RunSpec) -> str:
    """Return an attack's name with its version, such as `auto 3`.

    Submitted images have no version.
    """
    return spec.attack.name if spec.attack.is_external else f"{spec.attack.name} {spec.attack.version}"


def conditions(spec: RunSpec) -> str:
    """Return what decides the value of a perturbed image, as JSON.

    Records with equal conditions, weights and metric count together, whatever their protocols are called. The values
    are the engine, the threat model, the images, the attribution, the explained class, the heatmap, the seed and the
    precision of the judge. The number of images of a run does not matter, nor does the attack or what it searched with.
    """
    values = spec.model_dump(mode="json", exclude=set(ASIDE | {"samples", "on_protocol", "crafted_on"}))
    return canonical_json(values | {"samples": spec.samples.sha256})


def read_outcomes(run: StoredRun) -> pa.Table:
    """Return the columns of a run's rows that the ledger reads.

    Raises:
        IntegrityError: if the rows are damaged, or lack a column.
    """
    names = ["sample_id", "correct", "feasible", "gradient_evaluations"]
    names += [metric.name for metric in run.record.spec.metrics]
    table = run.table(names)
    if missing := set(names) - set(table.column_names):
        raise IntegrityError(f"expected the columns {sorted(missing)} in {run.rows_path}, got none; run it again")
    return table


def is_primary(spec: RunSpec, metric: MetricSpec) -> bool:
    """Say whether a metric is the one by which a protocol ranks."""
    return metric.name == spec.primary_metric


def accounts(
    runs: Iterable[StoredRun],
    read: ReadTable = read_outcomes,
    wanted: Callable[[RunSpec, MetricSpec], bool] = is_primary,
) -> list[Account]:
    """Return one account per network, conditions and metric.

    They are sorted by protocol and model. Only the newest weights of a model count. A series of changes reaches no
    value of its own, as its rows are means over levels, so it does not count; neither do metrics without a direction.

    Args:
        runs: the records.
        read: returns a run's rows.
        wanted: whether a run asks for a metric's account. The other runs of equal conditions then count, too.
    """
    by_model: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_model[run.record.entry.name].append(run)
    groups: dict[tuple[str, str, str], list[tuple[StoredRun, MetricSpec]]] = defaultdict(list)
    for name, members in by_model.items():
        for run in of_weights(members, newest_weights(members)):
            if any(LEVEL_MARK in column for column in run.record.summaries.get("all", {})):
                continue
            shared = conditions(run.record.spec)
            for metric in run.record.spec.metrics:
                if metric.higher_is != "neutral":
                    groups[name, shared, metric.model_dump_json()].append((run, metric))
    found = [
        _account(name, shared, [run for run, _ in members], members[0][1], read)
        for (name, shared, _), members in groups.items()
        if any(wanted(run.record.spec, metric) for run, metric in members)
    ]
    return sorted(found, key=lambda a: (a.protocols, a.model, a.metric.name, -len(a.ids), a.threat))


def _account(model: str, shared: str, runs: Sequence[StoredRun], metric: MetricSpec, read: ReadTable) -> Account:
    tables = {run.record.run_id: read(run) for run in runs}
    ordered = sorted(runs, key=lambda run: _cheapness(run, tables[run.record.run_id]))
    widest = max(runs, key=lambda run: (run.record.samples, run.record.run_id))
    ids = list(dict.fromkeys(name for run in (widest, *ordered) for name in _ids(tables[run.record.run_id])))
    places = {name: place for place, name in enumerate(ids)}
    sign = -1.0 if metric.higher_is == "less-robust" else 1.0
    least, finders = np.full(len(ids), np.inf), np.full(len(ids), -1, np.int64)
    for number, run in enumerate(ordered):
        table = tables[run.record.run_id]
        here = np.fromiter(map(places.__getitem__, _ids(table)), np.int64, len(table))
        values = sign * np.asarray(table[metric.name].to_numpy(), np.float64)
        kept = table["feasible"].to_numpy().astype(bool)
        lower = kept & (values < least[here])  # NaN is not lower
        least[here[lower]], finders[here[lower]] = values[lower], number
    some, threat = finders >= 0, runs[0].record.spec.threat
    return Account(
        model=model,
        weights_sha256=runs[0].record.spec.model.weights_sha256,
        protocols=tuple(sorted({run.record.spec.protocol.key for run in runs})),
        conditions=shared,
        threat=f"{threat.norm} {threat.epsilon}",
        metric=metric,
        runs=tuple(ordered),
        ids=tuple(name for name, known in zip(ids, some, strict=True) if known),
        values=sign * least[some],
        finders=finders[some],
    )


def _ids(table: pa.Table) -> list[str]:
    names: list[str] = table["sample_id"].to_pylist()
    return names


def _cheapness(run: StoredRun, table: pa.Table) -> tuple[float, str, int, str]:
    """Return the sort key that puts runs with fewer gradients first."""
    spec = run.record.spec
    cost = evaluations(run, table)
    return math.inf if cost is None else cost, spec.attack.name, spec.attack.version, run.record.run_id


def evaluations(run: StoredRun, table: pa.Table) -> float | None:
    """Return a run's mean gradient evaluations per image.

    None for an external attack, whose cost nobody measured.
    """
    if run.record.spec.attack.is_external:
        return None
    return float(np.asarray(table["gradient_evaluations"].to_numpy(), np.float64).mean())
