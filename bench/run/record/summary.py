"""Computes means and confidence intervals from the rows of a run.

Needs no torch.
"""

from __future__ import annotations

from collections import defaultdict
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
Table = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Interval = tuple[float, float] | tuple[None, None]
Places = np.ndarray[tuple[int, int], np.dtype[np.int64]]
_BLOCK = 200
_AT_ONCE = 50_000
"""Drawn values per block of few values: what fits a processor's cache."""
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
    values = rows[metrics].to_numpy(dtype=np.float64)
    of_all = _summaries(metrics, values)
    return {"correct": of_all if correct.all() else _summaries(metrics, values[correct]), "all": of_all}


def levels_of(columns: Sequence[str], metrics: Sequence[str]) -> list[str]:
    """Return the columns of metrics at single levels of a series."""
    return [name for name in columns if LEVEL_MARK in name and name.partition(LEVEL_MARK)[0] in metrics]


def _summaries(names: Sequence[str], columns: Table) -> dict[str, Summary]:
    found = [_defined(values, name) for name, values in zip(names, columns.T, strict=True)]
    return {
        name: _summary(defined, interval, len(columns))
        for name, defined, interval in zip(names, found, bootstrap_intervals(found), strict=True)
    }


def _defined(values: Values, name: str) -> Values:
    defined = values[~np.isnan(values)]
    if not (np.abs(defined) < LARGEST).all():
        came = defined[~(np.abs(defined) < LARGEST)][0]
        raise IntegrityError(f"expected finite numbers or NaN in the column {name!r}, got {came}; mend the metric")
    return defined


def _summary(defined: Values, interval: Interval, count: int) -> Summary:
    n, (low, high) = len(defined), interval
    mean = float(defined.mean()) if n else None
    return Summary(mean=mean, low=low, high=high, n=n, n_undefined=count - n)


def bootstrap_intervals(columns: Sequence[Values]) -> list[Interval]:
    """Return the 95 % intervals of means by the percentile bootstrap.

    The ends are the 2.5 and 97.5 percentiles of the means of resamples: n of the n values, with replacement.

    Args:
        columns: one array of values per mean.
    Returns:
        One interval per mean, (None, None) where there are no values.
    Source:
        Efron 1979, the percentile bootstrap.
        Differs: nothing; 2000 resamples from one fixed stream.
    """
    found: list[Interval] = [(None, None)] * len(columns)
    alike: dict[int, list[int]] = defaultdict(list)
    for place, values in enumerate(columns):
        if len(values) and values[0] in {0.0, 1.0} and (values == values[0]).all():
            found[place] = float(values[0]), float(values[0])  # so is the mean of any resample, to the last bit
        elif len(values):
            alike[len(values)].append(place)
    for n, members in alike.items():  # percentiles of many columns at once, as each call takes a millisecond
        drawn = _kept(n) if n <= _FEW else _resamples(n)
        means = [np.stack([columns[place].take(places).mean(axis=1) for place in members]) for places in drawn]
        ends = np.quantile(np.concatenate(means, axis=1), [0.025, 0.975], axis=1)
        for place, low, high in zip(members, *ends, strict=True):
            found[place] = float(low), float(high)
    return found


def _resamples(n: int) -> Iterator[Places]:
    """Yield the places of the resamples, (_BLOCK, n) at a time."""
    rng = np.random.default_rng(SEED)
    for _ in range(RESAMPLES // _BLOCK):
        yield rng.integers(n, size=(_BLOCK, n))


@lru_cache(maxsize=4)
def _kept(n: int) -> tuple[Places, ...]:
    """Return the places of the resamples, the same for every metric."""
    together = max(1, _AT_ONCE // (_BLOCK * n))
    blocks = list(_resamples(n))
    return tuple(np.concatenate(blocks[first : first + together]) for first in range(0, len(blocks), together))
