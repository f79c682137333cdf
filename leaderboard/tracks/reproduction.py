"""The papers' tables and figures, with our numbers from records beside them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import model_validator

from bench.core.schemas.records import Summary
from bench.core.schemas.strict import Strict
from leaderboard.records.index import Book, Measure
from leaderboard.records.studies import StudyResults
from leaderboard.tracks.claims import Claim, Kinds, Levels
from leaderboard.tracks.study_claims import StudyClaim, StudySides, numbers_of

PUBLISHED = Path(__file__).parent / "published"
"""Folder with one TOML file per paper."""


class Transferred(Strict):
    """Numbers for images that were crafted on the columns' networks."""

    protocol: str
    metric: str


class Column(Strict):
    """Column of a published table, with our measure, if any."""

    name: str
    measure: Measure | None = None
    number: str = ""
    """The number of the table's study."""


class Row(Strict):
    """Row of a published table, in percent, with our model, if any.

    A number is nan where the paper prints none.
    """

    name: str
    values: tuple[float, ...]
    model: str | None = None
    piece: str | None = None
    """The side of the table's study."""


class Printed(Strict):
    """Table or figure of a paper."""

    paper: str
    title: str
    differences: tuple[str, ...] = ()
    missing: str = ""
    """Why there cannot be anything of ours."""
    command: str = ""
    """The command that makes ours, where it is lacking."""


class PublishedTable(Printed):
    """Table as printed in a paper, with the source of our numbers."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    levels: Levels | None = None
    kinds: Kinds | None = None
    transfer: Transferred | None = None
    study: StudySides | None = None

    @model_validator(mode="after")
    def _full(self) -> Self:
        if wrong := [row.name for row in self.rows if len(row.values) != len(self.columns)]:
            raise ValueError(f"expected {len(self.columns)} values in each row of {self.title}, got others: {wrong}")
        return self


class Figure(Printed):
    """Figure of a paper, with the page that shows ours."""

    shows: str
    """What the paper shows, in words."""
    page: str = ""
    """Page of the site, such as tracks/alignment.html."""
    boxes: tuple[Measure, ...] = ()
    """Measures whose quantiles over the images are drawn, for `models`."""
    models: tuple[str, ...] = ()


class Published(Strict):
    """Tables, figures and claims of all papers."""

    papers: dict[str, str]
    tables: tuple[PublishedTable, ...]
    figures: tuple[Figure, ...]
    claims: tuple[Claim, ...]
    study_claims: tuple[StudyClaim, ...] = ()

    @model_validator(mode="after")
    def _claims_name_exhibits(self) -> Self:
        titles = {(each.paper, each.title) for each in (*self.tables, *self.figures)}
        about = [(claim.paper, claim.exhibit) for claim in self.claims if claim.exhibit]
        about += [(claim.paper, claim.exhibit) for claim in self.study_claims if claim.exhibit]
        if wrong := [exhibit for paper, exhibit in about if (paper, exhibit) not in titles]:
            raise ValueError(f"expected the title of a table or figure of the paper in `exhibit`, got {wrong[0]!r}")
        return self


@dataclass(frozen=True)
class Cell:
    """Published number, in percent, and our mean."""

    published: float
    ours: Summary | None


@dataclass(frozen=True)
class Reproduced:
    """A published table with our numbers beside it."""

    table: PublishedTable
    rows: tuple[tuple[Row, tuple[Cell, ...]], ...]

    @property
    def compared(self) -> int:
        """Number of cells that have a number of ours."""
        return sum(cell.ours is not None for _, cells in self.rows for cell in cells)


def published() -> Published:
    """Return the papers' tables, figures and claims."""
    papers = sorted((tomllib.loads(path.read_text(encoding="utf-8")) for path in PUBLISHED.iterdir()), key=_order)
    parts = {
        kind: [{"paper": paper["name"], **each} for paper in papers for each in paper.get(kind, [])]
        for kind in ("tables", "figures", "claims", "study_claims")
    }
    return Published.model_validate({"papers": {paper["name"]: paper["cites"] for paper in papers}, **parts})


def _order(paper: dict[str, Any]) -> int:
    return int(paper["order"])


def reproduced(
    book: Book, tables: tuple[PublishedTable, ...], studies: Sequence[StudyResults] = ()
) -> list[Reproduced]:
    """Return the published tables with our numbers, from runs and from studies."""
    return [
        Reproduced(table, tuple((row, tuple(_cells(book, studies, table, row))) for row in table.rows))
        for table in tables
    ]


def of_kind(book: Book, kinds: Kinds, kind: str, model: str) -> Summary | None:
    """Return a metric's mean over the severities of one corruption."""
    found = [book.value(measure, model) for measure in kinds.of(kind)]
    means = [summary.mean for summary in found if summary is not None and summary.mean is not None]
    if len(means) < len(found) or found[0] is None:
        return None
    return Summary(mean=sum(means) / len(means), low=None, high=None, n=found[0].n, n_undefined=found[0].n_undefined)


def _cells(book: Book, studies: Sequence[StudyResults], table: PublishedTable, row: Row) -> Iterator[Cell]:
    for column, value in zip(table.columns, row.values, strict=True):
        if table.study is not None and row.piece is not None:
            yield Cell(value, _of_study(studies, table.study, row.piece, column.number))
        else:
            yield Cell(value, None if row.model is None else _ours(book, table, column, row.model))


def _of_study(studies: Sequence[StudyResults], wanted: StudySides, side: str, number: str) -> Summary | None:
    """Return a number's mean over one side's pieces, such as seeds."""
    values = [numbers[number] for numbers in numbers_of(studies, wanted, side, number).values()]
    if not values:
        return None
    return Summary(mean=sum(values) / len(values), low=None, high=None, n=len(values), n_undefined=0)


def _ours(book: Book, table: PublishedTable, column: Column, model: str) -> Summary | None:
    if table.kinds is not None:
        return of_kind(book, table.kinds, column.name, model)
    if table.levels is not None:
        return book.value(table.levels.at(column.name), model)
    if table.transfer is not None:
        run = book.run(table.transfer.protocol, model, "transfer", column.name)
        return None if run is None else run.record.summaries["all"].get(table.transfer.metric)
    return None if column.measure is None else book.value(column.measure, model)
