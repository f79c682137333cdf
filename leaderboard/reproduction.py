"""The papers' tables beside ours, and whether their orderings hold here: all of ours read from records."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from bench.core.protocol import Strict
from bench.core.records import LEVEL_MARK, Summary
from leaderboard.book import Book, Measure

PUBLISHED = Path(__file__).parent / "published.toml"
SEVERITIES = range(1, 6)


class Levels(Strict):
    """The levels of a series; the columns of its table are named after them."""

    protocol: str
    attack: str
    metric: str


class Kinds(Levels):
    """The kinds of a corruption, each the mean over its severities."""

    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


class Transferred(Strict):
    """Images crafted on the networks that the columns are named after."""

    protocol: str
    metric: str


class Column(Strict):
    """A column of a published table, and where our number of it is found, if anywhere."""

    name: str
    measure: Measure | None = None


class Row(Strict):
    """A row of a published table, in percent, and our model of that kind, if there is one."""

    name: str
    values: tuple[float, ...]
    model: str | None = None


class PublishedTable(Strict):
    """A table as printed."""

    paper: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    differences: tuple[str, ...] = ()
    missing: str = ""
    levels: Levels | None = None
    kinds: Kinds | None = None
    transfer: Transferred | None = None

    @model_validator(mode="after")
    def _full(self) -> Self:
        if wrong := [row.name for row in self.rows if len(row.values) != len(self.columns)]:
            raise ValueError(f"expected {len(self.columns)} values in each row of {self.title}, got others: {wrong}")
        return self


class Claim(Strict):
    """An ordering that a paper states: the first model is what the others are held against."""

    paper: str
    text: str
    relation: Literal["above", "below", "rising", "within"]
    models: tuple[str, ...] = Field(min_length=2)
    measures: tuple[Measure, ...] = ()
    kinds: Kinds | None = None
    what: str = ""
    """What its one measure is, in words; else the metric's name is."""
    tolerance: float = 0.0


class Published(Strict):
    """All that the papers print."""

    papers: dict[str, str]
    tables: tuple[PublishedTable, ...]
    claims: tuple[Claim, ...]


@dataclass(frozen=True)
class Cell:
    """The published number, in percent, and ours."""

    published: float
    ours: Summary | None


@dataclass(frozen=True)
class Reproduced:
    """A published table with our numbers beside it."""

    table: PublishedTable
    rows: tuple[tuple[Row, tuple[Cell, ...]], ...]

    @property
    def compared(self) -> int:
        """Cells with a number of ours."""
        return sum(cell.ours is not None for _, cells in self.rows for cell in cells)


@dataclass(frozen=True)
class Comparison:
    """Two models by one measure, in the order in which the claim wants them."""

    what: str
    first: str
    second: str
    values: tuple[float, float]
    holds: bool


@dataclass(frozen=True)
class Verdict:
    """What became of a claim."""

    claim: Claim
    comparisons: tuple[Comparison, ...]
    lacking: tuple[str, ...]

    @property
    def held(self) -> int:
        """Comparisons that came out as the paper says."""
        return sum(comparison.holds for comparison in self.comparisons)

    @property
    def word(self) -> str:
        """Confirmed, refuted, or something between."""
        if not self.comparisons:
            return "not measured"
        if self.held == len(self.comparisons):
            return "confirmed"
        return "refuted" if 2 * self.held <= len(self.comparisons) else "confirmed in part"


def published() -> Published:
    """Return the papers' tables and claims."""
    return Published.model_validate(tomllib.loads(PUBLISHED.read_text(encoding="utf-8")))


def reproduced(book: Book, tables: tuple[PublishedTable, ...]) -> list[Reproduced]:
    """Return each table with our numbers."""
    return [Reproduced(table, tuple((row, tuple(_cells(book, table, row))) for row in table.rows)) for table in tables]


def verdicts(book: Book, claims: tuple[Claim, ...]) -> list[Verdict]:
    """Return what the records say to each claim."""
    return [_verdict(book, claim) for claim in claims]


def of_kind(book: Book, kinds: Levels, kind: str, model: str) -> Summary | None:
    """Return a metric's mean over the severities of one kind of corruption."""
    found = [
        book.value(Measure(protocol=kinds.protocol, attack=kinds.attack, metric=_at(kinds, f"{kind}-{s}")), model)
        for s in SEVERITIES
    ]
    means = [summary.mean for summary in found if summary is not None and summary.mean is not None]
    if len(means) < len(SEVERITIES) or found[0] is None:
        return None
    return Summary(mean=sum(means) / len(means), low=None, high=None, n=found[0].n, n_undefined=found[0].n_undefined)


def _at(levels: Levels, level: str) -> str:
    return f"{levels.metric}{LEVEL_MARK}{level}"


def _cells(book: Book, table: PublishedTable, row: Row) -> Iterator[Cell]:
    for column, value in zip(table.columns, row.values, strict=True):
        yield Cell(value, None if row.model is None else _ours(book, table, column, row.model))


def _ours(book: Book, table: PublishedTable, column: Column, model: str) -> Summary | None:
    if table.kinds is not None:
        return of_kind(book, table.kinds, column.name, model)
    if table.levels is not None:
        place = table.levels
        measure = Measure(protocol=place.protocol, attack=place.attack, metric=_at(place, column.name))
        return book.value(measure, model)
    if table.transfer is not None:
        run = book.run(table.transfer.protocol, model, "transfer", column.name)
        return None if run is None else run.record.summaries["all"].get(table.transfer.metric)
    return None if column.measure is None else book.value(column.measure, model)


def _verdict(book: Book, claim: Claim) -> Verdict:
    found, lacking = [], set()
    pairs = list(pairwise(claim.models))
    if claim.relation != "rising":
        pairs = [(claim.models[0], other) for other in claim.models[1:]]
    for what, values in _measured(book, claim):
        for first, second in pairs:
            one, two = values.get(first), values.get(second)
            lacking |= {name for name, value in ((first, one), (second, two)) if value is None}
            if one is not None and two is not None:
                found.append(Comparison(what, first, second, (one, two), _holds(claim, one, two)))
    return Verdict(claim, tuple(found), tuple(sorted(lacking)))


def _measured(book: Book, claim: Claim) -> Iterator[tuple[str, dict[str, float | None]]]:
    """Yield what was measured, in words, and each model's value."""
    for measure in claim.measures:
        stated = {"clean": "clean accuracy", "pgd40": "PGD-40 accuracy", "autoattack": "AutoAttack accuracy"}
        words = claim.what or measure.metric or stated[measure.entry]
        values = {model: book.value(measure, model) for model in claim.models}
        yield words, {model: None if value is None else value.mean for model, value in values.items()}
    if claim.kinds is None:
        return
    levels = book.levels(claim.kinds.protocol, claim.kinds.attack, claim.kinds.metric)
    for kind in dict.fromkeys(level.rpartition("-")[0] for level in levels):
        if kind in claim.kinds.without or (claim.kinds.only and kind not in claim.kinds.only):
            continue
        summaries = {model: of_kind(book, claim.kinds, kind, model) for model in claim.models}
        yield kind, {model: None if value is None else value.mean for model, value in summaries.items()}


def _holds(claim: Claim, first: float, second: float) -> bool:
    if claim.relation == "within":
        return abs(first - second) <= claim.tolerance
    return second < first if claim.relation == "below" else second > first
