"""Means and intervals, against scipy."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.core.errors import IntegrityError
from bench.core.schemas.records import Summary
from bench.run.record.summary import bootstrap_intervals, summarise

GENERATOR = np.random.default_rng(5)
SAMPLES = {
    "normal": GENERATOR.normal(0.4, 0.2, 300),
    "skewed": GENERATOR.exponential(1.0, 120),
    "shares": (GENERATOR.random(200) < 0.07).astype(float),
    "few": GENERATOR.normal(size=8),
    "many": GENERATOR.random(5000),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_the_interval_is_scipys_percentile_bootstrap(name: str) -> None:
    values = SAMPLES[name]
    oracle = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", batch=500, rng=np.random.default_rng(11)
    ).confidence_interval
    ((low, high),) = bootstrap_intervals([values])
    # The percentiles of 2000 means scatter with about 0.06 standard errors, a 65th of the width: 0.08 is five of these.
    tolerance = 0.08 * (oracle.high - oracle.low)
    assert low == pytest.approx(oracle.low, abs=tolerance)
    assert high == pytest.approx(oracle.high, abs=tolerance)


def rows(values: list[float], correct: list[bool] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"correct": correct or [True] * len(values), "m": np.array(values, dtype=float)})


def test_correct_and_all_are_different_samples() -> None:
    found = summarise(rows([1.0, 2.0, 3.0, 10.0], [True, False, True, False]), ["m"])
    assert (found["correct"]["m"].mean, found["correct"]["m"].n) == (2.0, 2)
    assert (found["all"]["m"].mean, found["all"]["m"].n) == (4.0, 4)


def test_undefined_values_are_counted_and_left_out() -> None:
    nan = float("nan")
    found = summarise(rows([nan, 0.2, nan, 0.4, 0.9]), ["m"])["all"]["m"]
    without = summarise(rows([0.2, 0.4, 0.9]), ["m"])["all"]["m"]
    assert (found.n, found.n_undefined) == (3, 2)
    assert (found.mean, found.low, found.high) == (without.mean, without.low, without.high)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], Summary(mean=None, low=None, high=None, n=0, n_undefined=0)),
        ([float("nan")] * 3, Summary(mean=None, low=None, high=None, n=0, n_undefined=3)),
        ([0.7], Summary(mean=0.7, low=0.7, high=0.7, n=1, n_undefined=0)),
        ([0.25] * 6, Summary(mean=0.25, low=0.25, high=0.25, n=6, n_undefined=0)),
    ],
)
def test_degenerate_columns(values: list[float], expected: Summary) -> None:
    assert summarise(rows(values), ["m"])["all"]["m"] == expected


def test_no_correct_sample_leaves_that_half_empty() -> None:
    found = summarise(rows([0.1, 0.2], [False, False]), ["m"])
    assert found["correct"]["m"] == Summary(mean=None, low=None, high=None, n=0, n_undefined=0)


def test_equal_rows_give_equal_bits_and_equally_many_samples_meet_equal_resamples() -> None:
    values = SAMPLES["normal"]
    alone, other = bootstrap_intervals([values]), bootstrap_intervals([values[:-1]])
    (low, high), shifted, few, again = bootstrap_intervals([values, 2 * values + 1, values[:-1], values.copy()])
    assert low is not None
    assert high is not None
    assert [(low, high)] == [again] == alone
    assert [few] == other, "others beside it change no bit"
    assert shifted == pytest.approx((2 * low + 1, 2 * high + 1), rel=1e-12)


def test_float32_columns_are_averaged_in_float64() -> None:
    values = np.full(10_000, 0.1, dtype=np.float32)
    frame = pd.DataFrame({"correct": True, "m": values})
    assert summarise(frame, ["m"])["all"]["m"].mean == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_missing_columns_and_infinities_are_errors() -> None:
    with pytest.raises(IntegrityError, match="a column 'other'"):
        summarise(rows([1.0]), ["other"])
    with pytest.raises(IntegrityError, match="got inf"):
        summarise(rows([1.0, float("inf")]), ["m"])


def test_no_torch_is_needed() -> None:
    check = "import sys, bench.run.record.summary; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
