"""Checking whether the orderings that papers state hold for our models.

Records give the values; models are compared image by image.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import Field

from bench.core.schemas.records import LEVEL_MARK
from bench.core.schemas.strict import Strict
from leaderboard.records.image_sets import ReadRows
from leaderboard.records.index import Book, Measure
from leaderboard.records.statistics import paired_interval, shares_interval

SEVERITIES = range(1, 6)

STATED = {"clean": "clean accuracy", "pgd40": "PGD-40 accuracy", "autoattack": "AutoAttack accuracy"}

OUTCOMES = {
    "held": "the whole interval of the difference is on the side of zero that the paper states, or within the "
    "tolerance that the claim allows",
    "contradicted": "the whole interval is on the other side, or outside of the tolerance",
    "undecided": "neither, and more images might decide it",
}
"""Outcomes of a comparison of two models, with their meanings."""

WORDS = {
    ("held",): "confirmed",
    ("held", "undecided"): "confirmed in part",
    ("undecided",): "undecided",
    ("contradicted", "undecided"): "contradicted in part",
    ("contradicted",): "contradicted",
    ("contradicted", "held"): "mixed",
    ("contradicted", "held", "undecided"): "mixed",
    (): "not measured",
}
"""Result of a claim, by the outcomes that occur among its comparisons."""

RULE = (
    "A claim is confirmed if all of its comparisons held, and contradicted if all were contradicted. It is confirmed "
    "or contradicted in part if the other comparisons are undecided. It is mixed if some comparisons held and others "
    "were contradicted, and undecided if all are undecided."
)
"""The rule of WORDS, for readers."""

Outcome = Literal["held", "contradicted", "undecided"]


class Levels(Strict):
    """Levels of a series. The columns of its table have their names."""

    protocol: str
    attack: str
    metric: str

    def at(self, level: str) -> Measure:
        """Return the measure at one level."""
        return Measure(protocol=self.protocol, attack=self.attack, metric=f"{self.metric}{LEVEL_MARK}{level}")


class Kinds(Levels):
    """Kinds of corruption, each a mean over its severities."""

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[Measure, ...]:
        """Return the measures of one kind at all severities."""
        return tuple(self.at(f"{kind}-{severity}") for severity in SEVERITIES)


class Claim(Strict):
    """Ordering of models that a paper states.

    The first model is the one with which the others are compared, except for a rising order.
    """

    paper: str
    text: str
    relation: Literal["above", "below", "rising", "within"]
    models: tuple[str, ...] = Field(min_length=1)
    measures: tuple[Measure, ...] = ()
    kinds: Kinds | None = None
    what: str = ""
    """The measure in words. By default pages show the metric's name."""
    tolerance: float = 0.0
    exhibit: str = ""
    """Title of the table or figure that it is about."""
    source: str = ""
    """Network on which the images of all models were crafted."""
    judge: str = ""
    """Network that sees the images that were crafted on the models."""
    against: Measure | None = None
    """Second measure of each model, with which the first one is compared."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Pairs of models to compare.

        For a rising order each model is paired with the one before it, else with the first. With two measures each
        model is paired with itself.
        """
        if self.against is not None:
            return [(model, model) for model in self.models]
        rising = self.relation == "rising"
        return list(pairwise(self.models)) if rising else [(self.models[0], other) for other in self.models[1:]]

    def outcome(self, low: float, high: float) -> Outcome:
        """Return the outcome for the interval of second model minus first."""
        if self.relation == "within":
            inside = -self.tolerance <= low and high <= self.tolerance
            outside = low > self.tolerance or high < -self.tolerance
            return "held" if inside else "contradicted" if outside else "undecided"
        if self.relation == "below":
            low, high = -high, -low
        return "held" if low > 0 else "contradicted" if high < 0 else "undecided"


@dataclass(frozen=True)
class Comparison:
    """Comparison of two models by one measure."""

    what: str
    first: str
    second: str
    values: tuple[float, float]
    """The mean of the first and of the second model, each over its own images."""
    interval: tuple[float, float]
    """95 % interval of the mean difference, second minus first."""
    images: int | None
    """Number of images on which both are measured. None if only the accuracies are known, not the images."""
    mean: float
    """Mean difference over these images, second minus first."""
    outcome: Outcome


@dataclass(frozen=True)
class Verdict:
    """Result of a claim, with its comparisons."""

    claim: Claim
    comparisons: tuple[Comparison, ...]
    lacking: tuple[str, ...]

    @property
    def counts(self) -> dict[str, int]:
        """Number of comparisons per outcome that occurs."""
        found = Counter[str](comparison.outcome for comparison in self.comparisons)
        return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}

    @property
    def word(self) -> str:
        """Result of the claim in words."""
        return WORDS[tuple(sorted(self.counts))]


class Side(NamedTuple):
    """Values of one model by one measure."""

    mean: float
    n: int
    values: pd.Series[float] | None
    """Values by sample id, NaN if undefined. None if only the mean is known."""


def verdicts(book: Book, claims: tuple[Claim, ...], read: ReadRows) -> list[Verdict]:
    """Return the results of all claims from the records."""
    return [_verdict(book, claim, read) for claim in claims]


def _verdict(book: Book, claim: Claim, read: ReadRows) -> Verdict:
    found, lacking = [], set()
    for what, measures in _measured(book, claim):
        second = measures if claim.against is None else (claim.against,)
        for first, other in claim.pairs:
            one, two = (_of(book, claim, *each, read) for each in ((measures, first), (second, other)))
            lacking |= {model for model, side in ((first, one), (other, two)) if side is None}
            if one is not None and two is not None:
                names = (
                    (first, other) if claim.against is None else (_named(measures[0], first), _named(second[0], other))
                )
                found.append(comparison(what, names, (one, two), claim))
    return Verdict(claim, tuple(found), tuple(sorted(lacking)))


def _of(book: Book, claim: Claim, measures: tuple[Measure, ...], model: str, read: ReadRows) -> Side | None:
    if claim.judge:
        return side_of(book, measures, claim.judge, read, model)
    return side_of(book, measures, model, read, claim.source or None)


def _named(measure: Measure, model: str) -> str:
    return f"{model}, {measure.attack}{measure.metric.removeprefix(measure.metric.partition(LEVEL_MARK)[0])}"


def comparison(what: str, names: tuple[str, str], sides: tuple[Side, Side], claim: Claim) -> Comparison:
    """Return the comparison of two sides, with its outcome."""
    mean, interval, images = difference(*sides)
    values = (sides[0].mean, sides[1].mean)
    return Comparison(what, *names, values, interval, images, mean, claim.outcome(*interval))


def _measured(book: Book, claim: Claim) -> Iterator[tuple[str, tuple[Measure, ...]]]:
    """Yield what to compare, in words, with the measures to average."""
    for measure in claim.measures:
        yield claim.what or measure.metric or STATED[measure.entry], (measure,)
    if claim.kinds is None:
        return
    levels = book.levels(claim.kinds.protocol, claim.kinds.attack, claim.kinds.metric)
    for kind in dict.fromkeys(level.rpartition("-")[0] for level in levels):
        if kind not in claim.kinds.without and (not claim.kinds.only or kind in claim.kinds.only):
            yield kind, claim.kinds.of(kind)


def side_of(
    book: Book, measures: tuple[Measure, ...], model: str, read: ReadRows, source: str | None = None
) -> Side | None:
    """Return a model's mean over measures and its values per image.

    All measures are of one run: of the run on images that were crafted on `source`, if it is given. None if one of the
    measures is missing.
    """
    measure = measures[0]
    if measure.entry:
        stated = book.value(measure, model)
        return None if stated is None or stated.mean is None else Side(stated.mean, stated.n, None)
    run = book.run(measure.protocol, model, measure.attack, source)
    if run is None:
        return None
    summaries = [run.record.summaries.get(m.samples, {}).get(m.metric) for m in measures]
    means = [summary.mean for summary in summaries if summary is not None and summary.mean is not None]
    if len(means) < len(measures) or summaries[0] is None:
        return None
    rows = read(run).set_index("sample_id")
    chosen = rows[rows["correct"].astype(bool)] if measure.samples == "correct" else rows
    values = chosen[[m.metric for m in measures]].astype(float).mean(axis=1, skipna=False)
    return Side(float(np.mean(means)), summaries[0].n, values)


def difference(first: Side, second: Side) -> tuple[float, tuple[float, float], int | None]:
    """Return mean, interval and number of images of second minus first.

    The images are those on which both are measured. Their number is None if only the means are known.
    """
    if first.values is None or second.values is None:
        shares = (second.mean, second.n), (first.mean, first.n)
        return second.mean - first.mean, shares_interval(*shares), None
    gains = np.asarray((second.values - first.values).dropna(), np.float64)
    return float(gains.mean()) if len(gains) else math.nan, paired_interval(gains), len(gains)
