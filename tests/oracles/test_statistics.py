"""The statistics of a board against scipy, brute force and identities."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from leaderboard.records.statistics import (
    LEVEL,
    differences,
    holm,
    paired_interval,
    rank_intervals,
    shares_interval,
    student_quantiles,
    tie_groups,
)

RNG = np.random.default_rng(5)
IMAGES = RNG.normal(0, 0.3, (400, 1))
VALUES = IMAGES + RNG.normal([0.7, 0.69, 0.5, 0.5, 0.1], 0.1, (400, 5))
"""Five models on 400 images that are as hard for one as for the others; some models are tied."""


def test_differences_are_those_of_scipy() -> None:
    found = differences(VALUES)
    for i, j in combinations(range(5), 2):
        between = VALUES[:, i] - VALUES[:, j]
        assert found.mean[i, j] == pytest.approx(between.mean())
        assert found.error[i, j] == pytest.approx(stats.sem(between))
        scipys = stats.ttest_rel(VALUES[:, i], VALUES[:, j])
        assert found.p[i, j] == pytest.approx(scipys.pvalue, rel=1e-6)
        assert paired_interval(between) == pytest.approx(tuple(scipys.confidence_interval()))
    np.testing.assert_allclose(found.mean, -found.mean.T)
    np.testing.assert_array_equal(found.p_holm, found.p_holm.T)


def test_a_few_pairs_have_wide_intervals_and_one_has_none() -> None:
    few = VALUES[:3, 0] - VALUES[:3, 1]
    low, high = paired_interval(few)
    assert (high - low) / 2 == pytest.approx(student_quantiles(400)[1] * stats.sem(few))
    assert paired_interval(few[:1]) == paired_interval(few[:0]) == (-np.inf, np.inf)


def test_the_interval_of_two_shares_is_the_published_one() -> None:
    """Compare with Newcombe 1998, table II, method 10.

    The rows are 56/70 against 48/80, 9/10 against 3/10 and 10/10 against 0/10.
    """
    for (a, m), (b, n), published in (
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 10), (0.6075, 1.0)),
    ):
        assert shares_interval((a / m, m), (b / n, n)) == pytest.approx(published, abs=5e-5)


def test_the_error_of_a_difference_is_the_bootstrap_s() -> None:
    between = VALUES[:, 1] - VALUES[:, 2]
    drawn = stats.bootstrap((between,), np.mean, n_resamples=5000, rng=np.random.default_rng(0), method="percentile")
    assert differences(VALUES).error[1, 2] == pytest.approx(drawn.standard_error, rel=0.05)


def test_pairing_sees_what_separate_intervals_hide() -> None:
    values = IMAGES + RNG.normal([0.52, 0.5], 0.02, (400, 2))
    assert stats.ttest_ind(values[:, 0], values[:, 1]).pvalue > LEVEL
    assert differences(values).p_holm[0, 1] < 1e-6
    assert rank_intervals(values).tolist() == [[1, 1], [2, 2]]


def test_equal_models_are_tied_and_constant_gaps_are_certain() -> None:
    values = np.hstack([IMAGES, IMAGES, IMAGES - 0.1])
    found = differences(values)
    assert found.p[0, 1] == 1
    assert found.p[0, 2] == 0
    assert rank_intervals(values).tolist() == [[1, 1], [1, 1], [3, 3]]


@given(
    st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=8),
    st.floats(0.001, 0.999, allow_subnormal=False),
)
def test_holm_rejects_what_its_steps_reject(p: list[float], level: float) -> None:
    rejected, order = set(), sorted(range(len(p)), key=lambda index: p[index])
    for step, index in enumerate(order):
        if p[index] * (len(p) - step) > level:
            break
        rejected.add(index)
    assert {index for index, value in enumerate(holm(np.array(p))) if value <= level} == rejected


def test_rank_intervals_are_those_of_a_slow_bootstrap() -> None:
    draw, ranks = np.random.default_rng(1), []
    for _ in range(4000):
        means = VALUES[draw.integers(400, size=400)].mean(axis=0)
        ranks.append([1 + sum(other > mean for other in means) for mean in means])
    slow = np.quantile(ranks, [LEVEL / 2, 1 - LEVEL / 2], axis=0).round().T
    np.testing.assert_array_equal(rank_intervals(VALUES), slow)
    assert rank_intervals(VALUES).tolist()[4] == [5, 5]


def test_tie_groups_begin_where_the_first_of_a_group_is_significantly_better() -> None:
    assert tie_groups(differences(VALUES[:, [0, 1, 2, 3, 4]]).p_holm) == [1, 1, 2, 2, 3]
    chain = np.array([[1, 0.2, 0.01], [0.2, 1, 0.3], [0.01, 0.3, 1]])
    assert tie_groups(chain) == [1, 1, 2]
    assert tie_groups(np.ones((1, 1))) == [1]
