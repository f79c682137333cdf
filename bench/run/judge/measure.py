"""Measures attacked images on the real network.

It computes in the protocol's precision. Of several proposals the worst allowed one counts for a suite, and the mean
over its levels for a series.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from bench.core.compute import norms
from bench.core.contracts import Metric, Pair, View
from bench.core.schemas.records import ATTACK_COLUMNS, LEVEL_MARK, ROW_COLUMNS
from bench.run.attack.search import Attacked
from bench.run.judge.clean import Clean, gap_of, look, measured, measured_all, probe_of, to_numpy, view_of
from bench.run.record.showcase import encode, tiles
from bench.run.samples import Samples
from bench.run.setup import Setup

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


class Verdict(NamedTuple):
    """The measured result of all proposals for N samples."""

    winner: Tensor
    """(N,) int64: the proposal that is worst by the primary metric, the first among equals; for a series, the last."""
    pair: Pair
    """The samples before the attack, and after it as their winners have them."""
    values: dict[str, Tensor]
    """Values, (N,), by metric; for a series also by metric and level, `<metric>@<level>`."""


def measure_shard(
    setup: Setup, samples: Samples, attacked: Attacked, showcase: frozenset[str], clean: Clean | None = None
) -> pd.DataFrame:
    """Return the rows of an attacked shard.

    Args:
        setup: networks, metrics and rules.
        samples: the N clean images.
        attacked: the result of the attack on them.
        showcase: ids of samples whose tiles are kept for the pages.
        clean: the result of `look` on these samples, if it is known.
    Returns:
        N rows: ROW_COLUMNS and ATTACK_COLUMNS of `bench.core.schemas.records`, the columns of the flags, one column per
        metric and per level of a series, `winner` if the attack is a suite, and `tiles`, a PNG or None.
    """
    found = look(setup, samples) if clean is None else clean
    return setup.within_memory(partial(_measure, setup, samples, attacked, showcase, found))


def _measure(
    setup: Setup, samples: Samples, attacked: Attacked, showcase: frozenset[str], clean: Clean
) -> pd.DataFrame:
    attack, before, explained = setup.attack, clean.view, clean.explained
    verdict = _verdict(setup, samples, attacked, clean)
    after = verdict.pair.after
    confidence = [view.logits.softmax(1).gather(1, explained.unsqueeze(1)).squeeze(1) for view in (before, after)]
    predicted = [view.logits.argmax(1) for view in (before, after)]
    columns: dict[str, object] = {
        "sample_id": list(samples.ids),
        "label": to_numpy(samples.labels),
        "predicted_before": to_numpy(predicted[0]),
        "predicted_after": to_numpy(predicted[1]),
        "confidence_before": to_numpy(confidence[0]),
        "confidence_after": to_numpy(confidence[1]),
        "correct": to_numpy(predicted[0].cpu() == samples.labels),
        "feasible": to_numpy(attacked.feasible.any(1)),
        "linf": to_numpy(norms.linf(before.images, after.images)),
        "l2": to_numpy(norms.l2(before.images, after.images)),
        "gradient_evaluations": to_numpy(attacked.gradient),
        "forward_evaluations": to_numpy(attacked.forward),
        "seed": [f"{seed:016x}" for seed in setup.attack_rng(samples.ids).seeds()],
        "completeness_gap_before": clean.gap,
        "completeness_gap_after": gap_of(setup, after, explained),
        "projected": to_numpy(attacked.projected),
        "gradient_vanished": to_numpy(attacked.vanished),
    }
    assert tuple(columns) == ROW_COLUMNS + ATTACK_COLUMNS
    columns |= clean.flags
    columns |= {name: to_numpy(values).astype(np.float64) for name, values in verdict.values.items()}
    if len(attack.members) > 1 and not attack.series:
        columns["winner"] = [attack.members[index] for index in verdict.winner.tolist()]
    columns["tiles"] = None
    if setup.reads_maps:
        shown = tiles(before, after, setup.top_k, outlined=setup.outlined)
        columns["tiles"] = [encode(t) if i in showcase else None for i, t in zip(samples.ids, shown, strict=True)]
    return pd.DataFrame(columns)


def _verdict(setup: Setup, samples: Samples, attacked: Attacked, clean: Clean) -> Verdict:
    """Return the measured comparison of attacked and clean images."""
    rng, labels = setup.attribution_rng(samples.ids), samples.labels.to(setup.device)
    probe = probe_of(setup, samples, clean.explained)
    members = zip(attacked.images.to(setup.device).unbind(1), attacked.feasible.to(setup.device).unbind(1), strict=True)
    pairs = [
        Pair(clean.view, view_of(setup, images, clean.explained, rng), labels, feasible, probe, samples.annotations)
        for images, feasible in members
    ]
    if setup.attack.series:
        return mean(pairs, setup.metrics, setup.attack.members, clean.values)
    return worst(pairs, setup.metrics, setup.primary, clean.values)


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
        known: values of metrics that look at clean images only.
    """
    found = _of_each(pairs, metrics, known, primary)
    damage = {name: _badness(torch.stack(values), metrics[name]) for name, values in found.items()}
    winner = damage[primary].argmax(0)
    pair = _pick(pairs, winner)
    values = {
        name: torch.stack(each).gather(0, damage[name].argmax(0, keepdim=True)).squeeze(0)
        for name, each in found.items()
    }
    return Verdict(winner, pair, _completed(metrics, pair, values, known))


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
    found = _of_each(pairs, metrics, known)
    # One after the other, so that the last bit does not depend on N.
    means = {name: sum(each[1:], start=each[0]) / count for name, each in found.items()}
    completed = _completed(metrics, last, means, known)
    values = {name: completed[name] for name in metrics}  # the levels are the change's, and not a metric's own
    for name, each in found.items():
        values |= {f"{name}{LEVEL_MARK}{level}": value for level, value in zip(levels, each, strict=True)}
    return Verdict(torch.full((len(last.labels),), count - 1), last, values)


def _of_each(
    pairs: Sequence[Pair], metrics: Mapping[str, Metric], known: Mapping[str, Tensor], primary: str | None = None
) -> dict[str, list[Tensor]]:
    """Return each proposal's values by metric.

    Metrics that are neutral, or that ask the network again, are left out, unless they are primary.
    """
    return {
        name: [measured(metric, pair) for pair in pairs]
        for name, metric in metrics.items()
        if name == primary or not (name in known or metric.asks_model or metric.higher_is == "neutral")
    }


def _completed(
    metrics: Mapping[str, Metric], pair: Pair, found: Mapping[str, Tensor], known: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the values of all metrics in their order.

    Values at a metric's levels follow it.

    What is neither known nor found is measured on the pair.
    """
    values: dict[str, Tensor] = {}
    for name, metric in metrics.items():
        if name in known:
            values |= {column: each for column, each in known.items() if column.partition(LEVEL_MARK)[0] == name}
        elif name in found:
            values[name] = found[name]
        else:
            values |= measured_all({name: metric}, pair)
    return values


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
