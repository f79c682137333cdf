"""Paired bootstrap, paired differences, Holm's correction and tie groups.

The interval of a mean, of a rank or of a comparison of attacks consists of percentiles over resamples. The interval of
the difference of two models is always Student's, as it has a closed form: the page on which readers choose models
computes it in the browser and gets the same result as `bench compare`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtr, stdtrit

RESAMPLES = 2000
SEED = 20_200_229
LEVEL = 0.05

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Differences(NamedTuple):
    """Differences of all pairs of models, (M, M) each, row minus column."""

    mean: Floats
    error: Floats
    p: Floats
    p_holm: Floats


class Pairs(NamedTuple):
    """The differences of named models."""

    models: tuple[str, ...]
    differences: Differences


def rank_intervals(values: Floats) -> Integers:
    """Return the 95 % intervals of the models' ranks.

    They are the 2.5 and 97.5 percentiles over resamples of the images.

    Args:
        values: (N, M). Robustness of M models, larger is better, on the same N images.
    Returns:
        (M, 2). Ranks from 1, the best; models with equal means share the better rank.
    Source:
        Goldstein and Spiegelhalter 1996, bootstrap intervals of ranks.
        Differs: nothing; every resample draws the same images for all models, which is what makes it paired.
    """
    means = _resampled_means(values)
    ordered = np.sort(-means, axis=1)
    ranks = np.stack([1 + np.searchsorted(row, -mean) for row, mean in zip(ordered, means, strict=True)])
    ends = (
        np.quantile(ranks, LEVEL / 2, axis=0, method="lower"),
        np.quantile(ranks, 1 - LEVEL / 2, axis=0, method="higher"),
    )
    return np.stack(ends, axis=1).astype(np.int64)


def paired_interval(gains: Floats) -> tuple[float, float]:
    """Return the 95 % interval of the mean of (N,) paired differences.

    It is infinite for fewer than two differences.

    Source:
        Student 1908, the paired comparison.
        Differs: nothing.
    """
    n = len(gains)
    if n < 2:
        return -math.inf, math.inf
    mean, half = float(gains.mean()), float(student_quantiles(n)[-1] * gains.std(ddof=1) / math.sqrt(n))
    return mean - half, mean + half


def student_quantiles(n: int) -> Floats:
    """Return (n - 1,) factors for the 95 % intervals of means.

    Half an interval is the factor times the standard error, for means of 2, 3, …, n values.
    """
    quantiles: Floats = np.asarray(stdtrit(np.arange(1, n), 1 - LEVEL / 2), np.float64)
    return quantiles


def shares_interval(first: tuple[float, int], second: tuple[float, int]) -> tuple[float, float]:
    """Return the 95 % interval of the first share minus the second.

    Each share comes with its number of trials. This is for shares whose images are not known one by one. If both shares
    are over the same images, a paired interval would be narrower.

    Source:
        Newcombe 1998, method 10: Wilson's intervals of both shares.
        Differs: nothing.
    """
    (one, one_low, one_high), (other, other_low, other_high) = (_wilson(*share) for share in (first, second))
    return (
        one - other - math.hypot(one - one_low, other_high - other),
        one - other + math.hypot(one_high - one, other - other_low),
    )


def _wilson(share: float, n: int) -> tuple[float, float, float]:
    """Return a share of n trials with its 95 % interval."""
    z = float(ndtri(1 - LEVEL / 2))
    middle, half = share + z**2 / (2 * n), z * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    return share, (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)


def shared_bootstrap_interval(values: Floats) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the mean of (N,) values."""
    low, high = np.quantile(_resampled_means(values), [LEVEL / 2, 1 - LEVEL / 2])
    return float(low), float(high)


def shared_bootstrap_intervals(values: Floats) -> Floats:
    """Return the 95 % bootstrap interval of the mean of every column.

    Args:
        values: (N, M). NaN means undefined; a resample's mean leaves such values out.
    Returns:
        (M, 2). NaN for a column without a defined value.
    """
    if not values.size:
        return np.full((values.shape[1], 2), np.nan)
    known = ~np.isnan(values)
    weights = _resamples(len(values))
    with np.errstate(invalid="ignore"):
        means = (weights @ np.where(known, values, 0.0)) / (weights @ known.astype(np.float64))
    ends = np.full((values.shape[1], 2), np.nan)
    some = known.any(axis=0)
    drawn = means[:, some]
    quantile = np.nanquantile if np.isnan(drawn).any() else np.quantile  # nanquantile is many times slower
    ends[some] = quantile(drawn, [LEVEL / 2, 1 - LEVEL / 2], axis=0).T
    return ends


def _resampled_means(values: Floats) -> Floats:
    means: Floats = _resamples(len(values)) @ values / len(values)
    return means


@lru_cache(maxsize=2)
def _resamples(n: int) -> Floats:
    """Return (RESAMPLES, n) counts of how often each image is drawn.

    The counts are floats, as products of float matrices are fast.
    """
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return drawn.astype(np.float64)


def differences(values: Floats) -> Differences:
    """Return the mean paired differences of M models, with p-values.

    The two-sided p-value is Student's, so it is below 0.05 exactly if `paired_interval` does not contain zero. Counting
    resamples could not resolve the small p-values that Holm's correction needs for many pairs.

    Args:
        values: (N, M). Robustness of M models on the same N images.
    """
    n, models = values.shape
    average = values.mean(axis=0)
    centred = values - average
    covariance = centred.T @ centred / max(1, n - 1) / n
    variance = np.add.outer(np.diag(covariance), np.diag(covariance)) - 2 * covariance
    error = np.sqrt(np.clip(variance, 0, None))
    mean = np.subtract.outer(average, average)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error > 1e-12, np.abs(mean) / error, np.where(np.abs(mean) > 1e-12, np.inf, 0.0))
    p = 2 * stdtr(max(1, n - 1), -ratio)
    first, second = np.triu_indices(models, 1)
    p_holm = np.ones_like(p)
    p_holm[first, second] = p_holm[second, first] = holm(p[first, second])
    return Differences(mean, error, p, p_holm)


def holm(p: Floats) -> Floats:
    """Return (M,) p-values after Holm's correction.

    Rejecting all hypotheses with adjusted values below a level makes one error or more with at most that probability.

    Source:
        Holm 1979, the step-down method.
        Differs: nothing.
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def tie_groups(p: Floats) -> list[int]:
    """Return the numbers of the models' groups, from 1.

    A group consists of its first model and the next models that do not differ significantly from that one.

    Args:
        p: (M, M). Adjusted p-values of the models, most robust first.
    """
    groups: list[int] = []
    leader = 0
    for model in range(len(p)):
        if p[leader, model] < LEVEL:
            leader = model
        groups.append((groups[-1] if groups else 0) + (leader == model))
    return groups
