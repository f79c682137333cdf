"""Computes means and confidence intervals from the rows of a run.

Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from bench.core.errors import IntegrityError
from bench.core.schemas.records import LEVEL_MARK, Summary

RESAMPLES = 2000
SEED = 20_200_229
"""Any fixed number; with the same seed in all runs, models with equally many samples have the same resamples."""

Which = Literal["correct", "all"]
Values = np.ndarray[tuple[int], np.dtype[np.float64]]
Places = np.ndarray[tuple[int, int], np.dtype[np.int64]]
_BLOCK = 200
_FEW = 500
"""Most values whose resamples are kept, 8 MB at most."""
LARGEST = 1e150
"""Numbers from here on count as infinite, because their sums and squares are."""


def summarise(rows: pd.DataFrame, metrics: Sequence[str]) -> dict[Which, dict[str, Summary]]:
    """Return each metric's mean with its 95 % interval.

    There is one mean over the correctly classified samples, and one over all samples.

    Args:
        rows: one line per sample: the bool column `correct`, and one float column per metric, NaN where undefined.
        metrics: names of metric columns; the columns of their levels are found automatically.
    Raises:
        IntegrityError: if a column is missing or holds an infinity.
    """
    metrics = [*metrics, *levels_of(list(rows.columns), metrics)]
    for name in ("correct", *metrics):
        if name not in rows:
            raise IntegrityError(f"expected a column {name!r} among the rows, got none; the rows are another run's")
    correct = rows["correct"].to_numpy(dtype=bool)
    columns: dict[str, Values] = {name: rows[name].to_numpy(dtype=np.float64) for name in metrics}
    of_all = {name: _summary(values, name) for name, values in columns.items()}
    if correct.all():
        return {"correct": of_all, "all": of_all}
    return {"correct": {name: _summary(values[correct], name) for name, values in columns.items()}, "all": of_all}


def levels_of(columns: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Return the columns of metrics at single levels of a series."""
    return [name for name in columns if LEVEL_MARK in name and name.partition(LEVEL_MARK)[0] in metrics]


def _summary(values: Values, name: str) -> Summary:
    defined = values[~np.isnan(values)]
    if not (np.abs(defined) < LARGEST).all():
        came = defined[~(np.abs(defined) < LARGEST)][0]
        raise IntegrityError(f"expected finite numbers or NaN in the column {name!r}, got {came}; mend the metric")
    n, undefined = len(defined), len(values) - len(defined)
    if n == 0:
        return Summary(mean=None, low=None, high=None, n=0, n_undefined=undefined)
    low, high = bootstrap_interval(defined)
    return Summary(mean=float(defined.mean()), low=low, high=high, n=n, n_undefined=undefined)


def bootstrap_interval(values: Values) -> tuple[float, float]:
    """Return the 95 % interval of the mean by the percentile bootstrap.

    Its ends are the 2.5 and 97.5 percentiles of the means of resamples: n of the n values, with replacement.

    Source:
        Efron 1979, the percentile bootstrap.
        Differs: nothing; 2000 resamples from one fixed stream.
    """
    n, first = len(values), float(values[0])
    if first in {0.0, 1.0} and (values == first).all():  # so is the mean of any resample, to the last bit
        return first, first
    means = [values[places].mean(axis=1) for places in (_kept(n) if n <= _FEW else _resamples(n))]
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def _resamples(n: int) -> Iterator[Places]:
    """Yield the places of the resamples, (_BLOCK, n) at a time."""
    rng = np.random.default_rng(SEED)
    for _ in range(RESAMPLES // _BLOCK):
        yield rng.integers(n, size=(_BLOCK, n))


@lru_cache(maxsize=4)
def _kept(n: int) -> tuple[Places, ...]:
    """Return the places of the resamples, the same for every metric."""
    return tuple(_resamples(n))
