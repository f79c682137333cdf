"""Comparing two attacks on the same models, image by image.

A comparison says which attack leaves less of the explanations, and how many gradients each one takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from bench.core.errors import UsageError
from bench.core.storage.stored_run import StoredRun
from leaderboard.records.rows import read_rows
from leaderboard.records.statistics import shared_bootstrap_interval


@dataclass(frozen=True)
class Variant:
    """An attack with the protocol's parameters or with others.

    The beta, the nodes and the precision of its search count as parameters too.
    """

    name: str
    params: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAME` or `NAME:KEY=VALUE,KEY=VALUE`.

        Raises:
            UsageError: if a parameter has no value.
        """
        name, _, rest = text.partition(":")
        pairs = [part.partition("=") for part in rest.split(",") if part]
        if any(not (key and value) for key, _, value in pairs):
            raise UsageError(f"expected an attack as NAME or NAME:KEY=VALUE,KEY=VALUE, got {text!r}")
        return cls(name, tuple((key.strip().replace("-", "_"), value.strip()) for key, _, value in pairs))

    def __str__(self) -> str:
        return self.name + "".join(f" {key}={value}" for key, value in self.params)

    def is_of(self, run: StoredRun) -> bool:
        """Say whether a run used this attack with these parameters.

        A variant that names no parameters means the protocol's own run.
        """
        spec = run.record.spec
        if spec.attack.name != self.name:
            return False
        searched = {"beta": f"{spec.surrogate.beta:g}", "precision": spec.surrogate.precision}
        searched |= spec.search_attribution.params | spec.attack.params
        given = {key: str(value) for key, value in searched.items()}
        return all(given.get(key) == value for key, value in self.params) if self.params else spec.on_protocol


@dataclass(frozen=True)
class Round:
    """Both attacks on one model under one metric.

    Over the images that the model classifies correctly and that both runs contain. An image that lost its class counts
    as unmoved, which an attack loses by; the gain over images that kept it under both attacks stands beside.
    """

    model: str
    metric: str
    means: tuple[float, float]
    gain: float
    """By how much less robust the model is under the first attack."""
    interval: tuple[float, float]
    images: int
    gradients: tuple[float, float]
    """Mean gradient evaluations per image."""
    kept_gain: float | None = None
    """The gain over the images that kept their class under both attacks, or None without such images."""
    kept_interval: tuple[float, float] | None = None
    kept_images: int = 0

    @property
    def verdict(self) -> str:
        """Whether the interval shows the first attack as stronger or weaker."""
        if self.interval[0] > 0:
            return "stronger"
        return "weaker" if self.interval[1] < 0 else "tied"


def contest(
    runs: Sequence[StoredRun],
    protocol: str,
    first: Variant,
    second: Variant,
    metrics: Sequence[str],
    *,
    against: str | None = None,
) -> list[Round]:
    """Return a round per metric and model that both attacks ran on.

    The rounds are in the order of the models' names.

    Args:
        runs: the records.
        protocol: key of the protocol of the first attack's runs.
        first: the attack of which the gain is told.
        second: the attack to compare with.
        metrics: names of metrics that both protocols have.
        against: key of the protocol of the second attack's runs; by default the same.
    Raises:
        UsageError: if no model has runs of both, or a metric was not measured.
        IntegrityError: if the rows of a run are damaged.
    """
    places = ((protocol, first), (against or protocol, second))
    sides = [_longest([run for run in runs if run.record.spec.protocol.key == key], each) for key, each in places]
    rounds = []
    for model in sorted(sides[0].keys() & sides[1].keys()):
        pair = (sides[0][model], sides[1][model])
        if _setting(pair[0]) == _setting(pair[1]):
            rounds += _rounds(model, pair, metrics)
    if not rounds:
        raise UsageError(
            f"expected a model with runs of {first} under {protocol} and of {second} under {against or protocol}, with "
            "all else equal, got none; make them with `bench run --set`"
        )
    return rounds


def _longest(runs: Sequence[StoredRun], variant: Variant) -> dict[str, StoredRun]:
    """Return, per model, the run of the attack over the most images."""
    found: dict[str, StoredRun] = {}
    for run in filter(variant.is_of, runs):
        name = run.record.entry.name
        if name not in found or run.record.samples > found[name].record.samples:
            found[name] = run
    return found


def _setting(run: StoredRun) -> tuple[Any, ...]:
    spec = run.record.spec
    question = spec.attribution, spec.explain, spec.heatmap
    return spec.engine, spec.model.weights_sha256, spec.threat, question, spec.seed


def _rounds(model: str, pair: tuple[StoredRun, StoredRun], metrics: Sequence[str]) -> list[Round]:
    known = {metric.name: metric for metric in pair[0].record.spec.metrics}
    if missing := [name for name in metrics if name not in known]:
        raise UsageError(f"expected a metric of the protocol, got {missing[0]!r}; choose from {', '.join(known)}")
    rows = [read_rows(run) for run in pair]
    correct = rows[0][rows[0]["correct"]]
    both = correct.merge(rows[1], on="sample_id", suffixes=("_1", "_2"))
    gradients = (float(both["gradient_evaluations_1"].mean()), float(both["gradient_evaluations_2"].mean()))
    kept = both["feasible_1"].to_numpy(bool) & both["feasible_2"].to_numpy(bool)
    rounds = []
    for name in metrics:
        values = both[[f"{name}_1", f"{name}_2"]].to_numpy(np.float64)
        defined = ~np.isnan(values).any(axis=1)
        if defined.any():
            sign = 1.0 if known[name].higher_is == "more-robust" else -1.0
            rounds.append(_round(model, name, sign * values[defined], kept[defined], sign=sign, gradients=gradients))
    return rounds


def _round(
    model: str,
    metric: str,
    robustness: npt.NDArray[np.float64],
    kept: npt.NDArray[np.bool_],
    *,
    sign: float,
    gradients: tuple[float, float],
) -> Round:
    first, second = robustness.T
    gains = second - first
    found = Round(
        model=model,
        metric=metric,
        means=(sign * float(first.mean()), sign * float(second.mean())),
        gain=float(gains.mean()),
        interval=shared_bootstrap_interval(gains),
        images=len(gains),
        gradients=gradients,
    )
    if not kept.any():
        return found
    rest = gains[kept]
    interval = shared_bootstrap_interval(rest)
    return replace(found, kept_gain=float(rest.mean()), kept_interval=interval, kept_images=len(rest))
