"""Measures several proposals for the same images.

For a suite the worst allowed proposal counts, for a series the mean over its levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from bench.core.contracts import Metric, Pair, View
from bench.core.errors import PluginFault
from bench.core.faults import blamed_on, described
from bench.core.schemas.records import LEVEL_MARK

ROUNDING = 1e-4
"""Allowed excess over a bound, relative to it, or absolute below 1: float32 sums over an image's pixels round."""

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


class Verdict(NamedTuple):
    """The measured result of all proposals for N samples."""

    winner: Tensor
    """(N,) int64: the proposal that is worst by the primary metric, the first among equals; for a series, the last."""
    pair: Pair
    """The samples before the attack, and after it as their winners have them."""
    values: dict[str, Tensor]
    """Values, (N,), by metric; for a series also by metric and level, `<metric>@<level>`."""


def measured(metric: Metric, pair: Pair) -> Tensor:
    """(N,): the checked values of a metric, NaN where undefined.

    Raises:
        PluginFault: if the metric fails, or a value lies outside its declared bounds.
    """
    with blamed_on(metric):
        values = metric(pair)
    return _checked(metric, values, len(pair.labels))


def measured_all(metrics: Mapping[str, Metric], pair: Pair) -> dict[str, Tensor]:
    """Return the checked values of metrics by name.

    Values at a metric's levels are named `<metric>@<level>`.
    """
    values = {}
    for name, metric in metrics.items():
        values[name] = measured(metric, pair)
        with blamed_on(metric):
            levels = metric.by_level(pair)
        values |= {f"{name}{LEVEL_MARK}{level}": _checked(metric, v, len(pair.labels)) for level, v in levels.items()}
    return values


def _checked(metric: Metric, values: Tensor, count: int) -> Tensor:
    """Return values if all `count` lie within the metric's bounds."""
    low, high = metric.bounds
    if values.shape != (count,):
        raise PluginFault(
            f"{described(metric)}: expected one value per image, the shape {(count,)}, got {tuple(values.shape)}; "
            "mend it"
        )
    defined = values[~values.isnan()]
    outside = defined[(defined < low - ROUNDING * max(1, abs(low))) | (defined > high + ROUNDING * max(1, abs(high)))]
    if len(outside):
        raise PluginFault(
            f"{described(metric)}: expected values in its bounds [{low:g}, {high:g}], got {float(outside[0]):g} and "
            f"{len(outside)} such of {count} in all; mend the metric, or its bounds"
        )
    return values


def worst(
    pairs: Sequence[Pair], metrics: Mapping[str, Metric], primary: str, known: Mapping[str, Tensor] = NOTHING
) -> Verdict:
    """Return the worst of M proposals for N samples.

    For each metric and sample the worst proposal counts, because every proposal is an attack. Metrics that are neutral,
    or that ask the network, are measured on the winner.

    Args:
        pairs: M pairs with the same N samples before the attack.
        metrics: the metrics by name.
        primary: the name of the metric that decides the winner.
        known: values of metrics that look at clean images only, and at their levels.
    """
    by_primary = torch.stack([measured(metrics[primary], pair) for pair in pairs])
    winner = _badness(by_primary, metrics[primary]).argmax(0)
    pair = _pick(pairs, winner)
    values: dict[str, Tensor] = {}
    for name, metric in metrics.items():
        if name in known:
            values |= _with_levels(known, name)
            continue
        if metric.asks_model or metric.higher_is == "neutral":
            values |= measured_all({name: metric}, pair)
            continue
        found = by_primary if name == primary else torch.stack([measured(metric, each) for each in pairs])
        values[name] = found.gather(0, _badness(found, metric).argmax(0, keepdim=True)).squeeze(0)
    return Verdict(winner, pair, values)


def mean(
    pairs: Sequence[Pair], metrics: Mapping[str, Metric], levels: Sequence[str], known: Mapping[str, Tensor] = NOTHING
) -> Verdict:
    """Return the mean of N samples over M levels of one change.

    Metrics that are neutral, or that ask the network, are measured on the last level.

    Args:
        pairs: one pair per level, with the same N samples before the attack.
        metrics: the metrics by name.
        levels: the M names of the levels.
        known: values of metrics that look at clean images only.
    """
    last, count = pairs[-1], len(pairs)
    values: dict[str, Tensor] = {}
    at_level: dict[str, Tensor] = {}
    for name, metric in metrics.items():
        if name in known:
            values[name] = known[name]
            continue
        if metric.asks_model or metric.higher_is == "neutral":
            values[name] = measured(metric, last)
            continue
        found = [measured(metric, pair) for pair in pairs]
        # One after the other, so that the last bit does not depend on N.
        values[name] = sum(found[1:], start=found[0]) / count
        at_level |= {f"{name}{LEVEL_MARK}{level}": each for level, each in zip(levels, found, strict=True)}
    return Verdict(torch.full((len(last.labels),), count - 1), last, values | at_level)


def _with_levels(known: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {column: values for column, values in known.items() if column.partition(LEVEL_MARK)[0] == name}


def _badness(values: Tensor, metric: Metric) -> Tensor:
    """(M, N): the values, signed so that larger is more damage.

    -inf where undefined.
    """
    signed = values if metric.higher_is == "less-robust" else -values
    return torch.where(torch.isnan(values), -torch.inf, signed.double())


def _pick(pairs: Sequence[Pair], winner: Tensor) -> Pair:
    """Return the pair whose sample i is taken from `pairs[winner[i]]`."""
    if len(pairs) == 1:
        return pairs[0]
    first, sample = pairs[0], torch.arange(len(winner), device=winner.device)

    def chosen(parts: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(parts))[winner, sample]

    views = [pair.after for pair in pairs]
    after = View(*(chosen([getattr(view, name) for view in views]) for name in View.__dataclass_fields__))
    feasible = [pair.feasible for pair in pairs if pair.feasible is not None]
    return Pair(
        first.before, after, first.labels, chosen(feasible) if feasible else None, first.probe, first.annotations
    )
