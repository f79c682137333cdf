"""One line per table and figure of the papers.

It tells what is here of it, and how many orderings hold. In a table each row is compared with the first row that has a
model of ours, column by column.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from leaderboard.records.image_sets import ReadRows
from leaderboard.records.index import Book, Measure
from leaderboard.tracks.claims import OUTCOMES, Outcome, Side, Verdict, difference, side_of
from leaderboard.tracks.reproduction import Column, Published, PublishedTable, Reproduced, Row


@dataclass(frozen=True)
class Exhibit:
    """One table or figure of a paper."""

    paper: str
    title: str
    published: str
    """What the paper shows, or how many numbers it prints."""
    ours: str
    page: str
    """Page of the site, or an anchor of the page of the papers' tables."""
    differences: tuple[str, ...]
    missing: str
    command: str
    outcomes: tuple[Outcome, ...]
    """Outcomes of the comparisons that belong to it."""

    @property
    def counts(self) -> dict[str, int]:
        """Number of comparisons per outcome that occurs."""
        found = Counter[str](self.outcomes)
        return {outcome: found[outcome] for outcome in OUTCOMES if found[outcome]}


def exhibits(
    printed: Published,
    tables: list[Reproduced],
    verdicts: list[Verdict],
    book: Book,
    read: ReadRows,
    *,
    drawn: Collection[int] = (),
) -> list[Exhibit]:
    """Return one line per table and figure, paper by paper.

    Args:
        printed: tables, figures and claims of the papers.
        tables: the tables with our numbers.
        verdicts: results of the claims.
        book: the runs that count.
        read: reads the rows of a run.
        drawn: numbers of the figures whose box plots are on the page.
    """
    lines = [_of_table(each, f"#table-{number}", verdicts, book, read) for number, each in enumerate(tables)]
    for number, figure in enumerate(printed.figures):
        outcomes = _about(verdicts, figure.paper, figure.title)
        ours = "box plots" if number in drawn else "a page of this site" if figure.page and not figure.missing else ""
        lines.append(
            Exhibit(
                paper=figure.paper,
                title=figure.title,
                published=figure.shows,
                ours=ours,
                page=f"#figure-{number}" if number in drawn else figure.page,
                differences=figure.differences,
                missing=figure.missing,
                command=figure.command,
                outcomes=outcomes,
            )
        )
    order = list(printed.papers)
    return sorted(lines, key=lambda line: order.index(line.paper))


def _of_table(found: Reproduced, page: str, verdicts: list[Verdict], book: Book, read: ReadRows) -> Exhibit:
    table = found.table
    printed = sum(not math.isnan(cell.published) for _, cells in found.rows for cell in cells)
    outcomes = (*orderings(book, table, read), *_about(verdicts, table.paper, table.title))
    return Exhibit(
        paper=table.paper,
        title=table.title,
        published=f"{printed} numbers" if printed else "numbers that are not at hand",
        ours=f"{found.compared} numbers" if found.compared else "",
        page=page,
        differences=table.differences,
        missing=table.missing,
        command=table.command,
        outcomes=outcomes,
    )


def _about(verdicts: list[Verdict], paper: str, title: str) -> tuple[Outcome, ...]:
    about = [each for each in verdicts if (each.claim.paper, each.claim.exhibit) == (paper, title)]
    return tuple(comparison.outcome for each in about for comparison in each.comparisons)


def orderings(book: Book, table: PublishedTable, read: ReadRows) -> tuple[Outcome, ...]:
    """Return whether rows differ from the first row as printed.

    Rows without a model of ours, and equal numbers, are left out.
    """
    rows = [row for row in table.rows if row.model is not None]
    return tuple(_orderings(book, table, rows, read)) if len(rows) > 1 else ()


def _orderings(book: Book, table: PublishedTable, rows: list[Row], read: ReadRows) -> Iterator[Outcome]:
    for place, column in enumerate(table.columns):
        first, *others = (_side(book, table, column, row, read) for row in rows)
        for row, other in zip(rows[1:], others, strict=True):
            stated = row.values[place] - rows[0].values[place]
            if first is None or other is None or math.isnan(stated) or stated == 0:
                continue
            _, (low, high), _ = difference(first, other)
            if stated < 0:
                low, high = -high, -low
            yield "held" if low > 0 else "contradicted" if high < 0 else "undecided"


def _side(book: Book, table: PublishedTable, column: Column, row: Row, read: ReadRows) -> Side | None:
    if row.model is None:
        return None
    if table.kinds is not None:
        return side_of(book, table.kinds.of(column.name), row.model, read)
    if table.levels is not None:
        return side_of(book, (table.levels.at(column.name),), row.model, read)
    if table.transfer is not None:
        wanted = Measure(protocol=table.transfer.protocol, attack="transfer", metric=table.transfer.metric)
        return side_of(book, (wanted,), row.model, read, column.name)
    return None if column.measure is None else side_of(book, (column.measure,), row.model, read)
