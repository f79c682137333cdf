"""Reading records and rows from results folders, and writing tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from pyarrow.csv import write_csv

from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.records import ROW_COLUMNS, Summary
from bench.core.storage.store import Store
from bench.core.storage.stored_run import StoredRun
from leaderboard.records.forks import in_shards

SAMPLE_SETS: tuple[Literal["correct", "all"], ...] = ("correct", "all")

RUN_COLUMNS = {
    "protocol": "the protocol's name and version",
    "rankable": "whether the protocol ranks; smoke protocols do not",
    "model": "name of the model",
    "weights_sha256": "checksum of the network's weights",
    "attack": "name of the attack",
    "metric": "name of the metric",
    "sample_set": "common: the images that every model of the protocol's reference set classifies correctly; correct: "
    "the images that this model classifies correctly before the attack; all: every image",
    "mean": "mean of the metric over the sample set; empty if the metric is undefined on all images",
    "low": "lower end of the 95 % percentile-bootstrap interval of the mean",
    "high": "upper end of that interval",
    "n": "images in the mean",
    "n_undefined": "images for which the metric is undefined",
    "samples": "images of the run",
    "samples_of": "images of the protocol; a run over fewer is not ranked",
    "correct": "images of the run that the model classifies correctly before the attack",
    "infeasible": "images on which the attack found no change that keeps the prediction",
    "on_protocol": "whether attack, threat, surrogate and search are the protocol's own; other runs are not ranked",
    "engine": "version of the evaluation; numbers of different engines are not compared",
    "run_id": "checksum of everything that can change a number of the run",
}
"""Columns of data/leaderboard.csv, and what they mean."""

SAMPLE_COLUMNS = {
    "sample_id": "<data set>/<split>/<index>",
    "label": "true class",
    "predicted_before": "class predicted for the clean image",
    "predicted_after": "class predicted for the perturbed image",
    "confidence_before": "softmax probability of the predicted class, clean image",
    "confidence_after": "softmax probability of the predicted class, perturbed image",
    "correct": "whether the clean image is classified correctly",
    "feasible": "whether the attack found an image that keeps the prediction",
    "linf": "largest change of a pixel value, where 1 is the full range",
    "l2": "Euclidean length of the change",
    "gradient_evaluations": "gradients that the attack asked for",
    "forward_evaluations": "forward passes that the attack asked for",
    "seed": "seed of the random numbers for this image",
    "completeness_gap_before": "how far the clean image's attribution is from summing to the logit's change",
    "completeness_gap_after": "the same for the perturbed image",
    "projected": "whether the attack's image had to be moved into the ball or the pixel range",
    "gradient_vanished": "share of the attack's gradients that could not guide it; empty if it asked for none",
    "surrogate_agrees": "whether the smooth surrogate predicts the clean image's class as the network does",
    "surrogate_correlation": "Pearson correlation of the surrogate's and the network's heatmaps of the clean image",
    "map_contrast": "standard deviation of the clean image's heatmap over its mean absolute value",
    "map_repeatable": "whether asking about the clean image twice gives the same answer and heatmap",
    "probabilities": "whether the model's answer is a distribution over the classes rather than logits",
    "map_tied": "share of the clean heatmap's pixels whose value, other than 0, another pixel has too; in older "
    "rows pixels of value 0 count as well",
}
"""Columns of data/rows/*.csv, and what they mean; one column per metric, by the metric's name, follows."""


def read_runs(*folders: Path) -> list[StoredRun]:
    """Return every run of some results folders, sorted by relative path.

    A run that two folders hold is returned once.

    Raises:
        UsageError: if a folder does not exist, or contains no run.
        IntegrityError: if a record is damaged, one run has two results, or one protocol two contents.
    """
    found: dict[Path, StoredRun] = {}
    for folder in folders:
        for run in _runs_of(folder):
            first = found.setdefault(run.path.relative_to(folder), run)
            if first.record.rows_sha256 != run.record.rows_sha256:
                raise IntegrityError(
                    f"expected one result of run {run.record.run_id[:12]}, got two, in {first.path} and {run.path}; "
                    "leave one folder out, or compare them with `bench verify --against`"
                )
    runs = [found[place] for place in sorted(found)]
    protocols: dict[str, StoredRun] = {}
    for run in runs:
        first = protocols.setdefault(run.record.spec.protocol.key, run)
        if first.record.spec.protocol != run.record.spec.protocol:
            raise IntegrityError(
                f"expected one content of protocol {run.record.spec.protocol.key}, got two, in {first.path} and "
                f"{run.path}; a changed protocol is a new version"
            )
    return runs


def _runs_of(folder: Path) -> list[StoredRun]:
    if not folder.is_dir():
        raise UsageError(
            f"expected a folder of run records, got {folder}, which is not a folder; name what `bench run` wrote"
        )
    runs = list(Store(folder).runs())
    if not runs:
        raise UsageError(
            f"expected records under {folder}/<protocol>/<model>/<attack>/, got none; make one with `bench run` first"
        )
    return runs


def read_rows(run: StoredRun) -> pd.DataFrame:
    """Return the rows of a run, checked against its record.

    Raises:
        IntegrityError: if the rows are damaged, or their means differ from the record.
    """
    return as_frame(checked(run, run.table()))


class RowReader:
    """Reader of rows that reads and checks each file only once.

    A build asks for the same rows many times. All callers share the result, so they must not change it. Reading a table
    is many times faster than making a frame of it, so callers should use `table` if they can.
    """

    def __init__(self) -> None:
        self._tables: dict[Path, pa.Table] = {}
        self._frames: dict[Path, pd.DataFrame] = {}

    def __call__(self, run: StoredRun) -> pd.DataFrame:
        """Return the rows of a run, checked against its record."""
        if run.path not in self._frames:
            self._frames[run.path] = as_frame(self.table(run))
        return self._frames[run.path]

    def read_all(self, runs: Sequence[StoredRun], processes: int) -> None:
        """Read the rows of several runs at once, in several processes."""
        shards = in_shards(processes, lambda shard: [self.table(run) for run in runs[shard::processes]])
        for shard, tables in enumerate(shards):
            self._tables |= {run.path: table for run, table in zip(runs[shard::processes], tables, strict=True)}

    def table(self, run: StoredRun) -> pa.Table:
        """Return the checked rows of a run as a table."""
        if run.path not in self._tables:
            self._tables[run.path] = checked(run, run.table())
        return self._tables[run.path]


def as_frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as a frame."""
    frame: pd.DataFrame = table.to_pandas(use_threads=False)
    return frame


def read_values(run: StoredRun) -> pa.Table:
    """Return a run's sample ids, correctness and metrics.

    This is quick, as the rows are not checked against the record.

    Raises:
        IntegrityError: if the rows are damaged.
    """
    names = ["sample_id", "correct", *(metric.name for metric in run.record.spec.metrics)]
    table = run.table(names)
    if missing := set(names) - set(table.column_names):
        raise IntegrityError(f"expected the columns {sorted(missing)} in {run.rows_path}, got none; run it again")
    return table


def checked(run: StoredRun, table: pa.Table) -> pa.Table:
    """Return the rows of a run after checking them against its record.

    Raises:
        IntegrityError: if a column is missing, or counts or means differ from the record.
    """
    record = run.record
    missing = {*ROW_COLUMNS, *(metric.name for metric in record.spec.metrics)} - set(table.column_names)
    if missing:
        raise IntegrityError(f"expected the columns {sorted(missing)} in {run.rows_path}, got none; run it again")
    correct = table["correct"].to_numpy().astype(bool)
    counts = (len(table), len(table["sample_id"].unique()), int(correct.sum()))
    if counts != (record.samples, record.samples, record.correct):
        raise IntegrityError(
            f"expected {record.samples} samples, {record.correct} of them correct, in {run.rows_path}, got {counts[0]} "
            f"({counts[1]} distinct), {counts[2]} of them correct; restore it"
        )
    _check_means(run, "correct", table, correct)
    _check_means(run, "all", table, slice(None))
    return table


def matrix(rows: pa.Table, names: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return M columns of N rows as an (N, M) array."""
    columns = [np.asarray(rows[name].to_numpy(), np.float64) for name in names]
    return np.stack(columns, axis=1) if columns else np.empty((len(rows), 0))


def _check_means(
    run: StoredRun, sample_set: Literal["correct", "all"], rows: pa.Table, chosen: npt.NDArray[np.bool_] | slice
) -> None:
    summaries = run.record.summaries.get(sample_set, {})
    if absent := [name for name in summaries if name not in rows.column_names]:
        raise IntegrityError(f"expected a column for {absent[0]} in {run.rows_path}, got none; restore it")
    values = matrix(rows, list(summaries))[chosen]
    known = ~np.isnan(values)
    totals, counts = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    for (name, summary), total, count in zip(summaries.items(), totals.tolist(), counts.tolist(), strict=True):
        actual = total / count if count else math.nan
        stated = math.nan if summary.mean is None else summary.mean
        if not (math.isnan(actual) and math.isnan(stated)) and not math.isclose(
            actual, stated, rel_tol=1e-5, abs_tol=1e-6
        ):
            raise IntegrityError(
                f"expected {name} ({sample_set}) in {run.path} to be the rows' mean {actual:.6g}, got {stated:.6g}; "
                "run it again"
            )


def summary_table(runs: list[StoredRun], common: Mapping[str, Mapping[str, Summary]]) -> pd.DataFrame:
    """Return one line per run, sample set and metric, with RUN_COLUMNS.

    Args:
        runs: the runs.
        common: the means over the reference set's images, by run id and metric. Records do not hold them.
    """
    lines = []
    for run in runs:
        found = {"common": common.get(run.record.run_id, {})}
        found |= {name: run.record.summaries.get(name, {}) for name in SAMPLE_SETS}
        for sample_set, summaries in found.items():
            lines += [_line(run, sample_set, metric, summary) for metric, summary in sorted(summaries.items())]
    return pd.DataFrame(lines, columns=list(RUN_COLUMNS))


def _line(run: StoredRun, sample_set: str, metric: str, summary: Summary) -> dict[str, Any]:
    record, spec = run.record, run.record.spec
    return {
        "protocol": spec.protocol.key,
        "rankable": spec.protocol.rankable,
        "model": record.entry.name,
        "weights_sha256": spec.model.weights_sha256,
        "attack": spec.attack.name,
        "metric": metric,
        "sample_set": sample_set,
        **summary.model_dump(),
        "samples": spec.samples.count,
        "samples_of": spec.samples.of,
        "correct": record.correct,
        "infeasible": record.infeasible,
        "on_protocol": spec.on_protocol,
        "engine": spec.engine,
        "run_id": record.run_id,
    }


def to_csv(table: pa.Table | pd.DataFrame) -> bytes:
    """Return a table as CSV that is the same on every machine.

    UTF-8, line feeds, text in quotes, every float in its shortest exact form.
    """
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False, nthreads=1)
    sink = pa.BufferOutputStream()
    write_csv(table, sink)
    content: bytes = sink.getvalue().to_pybytes()
    return content
