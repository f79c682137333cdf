"""The page of the papers' tables, figures and claims."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.pages import render
from leaderboard.pages.site import Staging
from leaderboard.records.index import Book
from leaderboard.records.rows import RowReader
from leaderboard.records.studies import StudyResults
from leaderboard.tracks.claims import OUTCOMES, RULE, verdicts
from leaderboard.tracks.exhibits import exhibits
from leaderboard.tracks.reproduction import Figure, published, reproduced
from leaderboard.tracks.spreads import Spread, spread_of
from leaderboard.tracks.study_claims import study_verdicts


def add_reproduction_page(book: Book, read: RowReader, studies: Sequence[StudyResults], site: Staging) -> None:
    """Add the page of the papers' tables, figures and claims.

    It links to pages that the site has already, so it comes after them.
    """
    printed = published()
    judged = [*verdicts(book, printed.claims, read), *study_verdicts(studies, printed.study_claims)]
    tables = reproduced(book, printed.tables, studies)
    boxes = [(n, figure, found) for n, figure in enumerate(printed.figures) if (found := _boxes(book, figure, read))]
    site.add(
        "reproduction.html",
        render.render(
            "reproduction.html",
            root="",
            papers=printed.papers,
            verdicts=judged,
            outcomes=OUTCOMES,
            rule=RULE,
            tables=tables,
            exhibits=exhibits(printed, tables, judged, book, read, drawn={number for number, *_ in boxes}),
            boxes=boxes,
            pages=set(site.checksums),
            models=set(book.entries),
        ),
    )


def _boxes(book: Book, figure: Figure, read: RowReader) -> list[Spread]:
    """Return the quantiles that a figure draws, measure by measure."""
    found = [spread_of(book, measure, model, read) for measure in figure.boxes for model in figure.models]
    return [spread for spread in found if spread is not None]
