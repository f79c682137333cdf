"""Checking orderings that papers state by the numbers of studies.

Two networks, or two attributions, are compared piece by piece: pieces that differ in nothing else are a pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pandas as pd
from pydantic import Field

from bench.core.schemas.strict import Strict
from bench.core.storage.files import canonical_json
from leaderboard.records.studies import StudyResults
from leaderboard.tracks.claims import Claim, Comparison, Side, Verdict, comparison

Numbers = dict[str, dict[str, float]]
"""Numbers of pieces, by the keys in which the compared sides agree."""


class StudySides(Strict):
    """Pieces of a study that one key tells apart."""

    study: str
    """The study with its version, such as retrain-v1."""
    over: str
    """The key of a piece that tells the sides apart, such as network."""
    fixed: dict[str, str | int | float] = Field(default_factory=dict)
    """Other keys of the pieces, and their values."""
    params: dict[str, str | int | float] = Field(default_factory=dict)
    """Parameters of the study, and their values."""


class StudyNumber(StudySides):
    """A number of a study's pieces."""

    number: str
    minus: Literal["", "before", "first"] = ""
    """The side that it is a difference from; its interval is `<number>-low` to `<number>-high`."""
    value: str = ""
    """With a difference: the number whose difference it is."""


class StudyClaim(Strict):
    """Ordering that a paper states, of networks or attributions in a study."""

    paper: str
    text: str
    relation: Literal["above", "below", "rising"]
    sides: tuple[str, ...] = Field(min_length=2)
    """Values of the key `over`. The first one is compared with the others, except for a rising order."""
    measure: StudyNumber
    exhibit: str = ""

    @property
    def claim(self) -> Claim:
        """Return it as a claim without measures of runs."""
        return Claim(paper=self.paper, text=self.text, relation=self.relation, models=self.sides, exhibit=self.exhibit)


def study_verdicts(studies: Sequence[StudyResults], claims: Sequence[StudyClaim]) -> list[Verdict]:
    """Return the results of all claims from the records of studies."""
    return [_verdict(studies, claim) for claim in claims]


def _verdict(studies: Sequence[StudyResults], stated: StudyClaim) -> Verdict:
    wanted = stated.measure
    pieces = {side: numbers_of(studies, wanted, side, wanted.value or wanted.number) for side in stated.sides}
    chain = wanted.minus == "before" or (stated.relation == "rising" and not wanted.minus)
    pairs = list(pairwise(stated.sides)) if chain else [(stated.sides[0], other) for other in stated.sides[1:]]
    compared = _stated_difference if wanted.minus else _paired
    found = [compared(stated, pair, pieces) for pair in pairs if all(pieces[side] for side in pair)]
    return Verdict(stated.claim, tuple(found), tuple(side for side, numbers in pieces.items() if not numbers))


def _paired(stated: StudyClaim, pair: tuple[str, str], pieces: dict[str, Numbers]) -> Comparison:
    """Compare pieces that differ in nothing but the side."""
    series = [
        pd.Series({key: numbers[stated.measure.number] for key, numbers in pieces[side].items()}, dtype=float)
        for side in pair
    ]
    one, two = (Side(float(values.mean()), len(values), values) for values in series)
    return comparison(stated.measure.number, pair, (one, two), stated.claim)


def _stated_difference(stated: StudyClaim, pair: tuple[str, str], pieces: dict[str, Numbers]) -> Comparison:
    """Take the difference and the interval that the second side's piece states."""
    wanted = stated.measure
    one, two = (next(iter(pieces[side].values())) for side in pair)
    low, high = two[f"{wanted.number}-low"], two[f"{wanted.number}-high"]
    values, outcome = (one[wanted.value], two[wanted.value]), stated.claim.outcome(low, high)
    return Comparison(wanted.value, *pair, values, (low, high), None, two[wanted.number], outcome)


def numbers_of(studies: Sequence[StudyResults], wanted: StudySides, side: str, number: str) -> Numbers:
    """Return the numbers of one side's pieces by their other keys.

    Pieces without the asked number are left out. Of the study's settings with the wanted parameters, the one with the
    most pieces counts.
    """
    settings = [
        setting
        for results in studies
        if results.card.key == wanted.study
        for setting in results.settings
        if all(setting.params.get(key) == value for key, value in wanted.params.items())
    ]
    found: Numbers = {}
    for stored in max(settings, key=lambda setting: len(setting.pieces)).pieces if settings else ():
        piece, numbers = stored.record.spec.piece, stored.record.numbers
        fits = all(piece.get(key) == value for key, value in wanted.fixed.items())
        if fits and number in numbers and str(piece.get(wanted.over)) == side:
            found[canonical_json({k: v for k, v in piece.items() if k != wanted.over})] = numbers
    return found
