"""The pages of the questions beyond a board: a page per track, their index, and the papers' tables beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.core.schemas.protocol import Track
from bench.core.storage.store import StoredRun
from leaderboard.drawing.strips import Tile, showcase_tiles, sprite_name, strips
from leaderboard.drawing.tiles import sprite
from leaderboard.pages import render
from leaderboard.pages.site import Staging
from leaderboard.records.index import Book
from leaderboard.records.rows import RowReader, to_csv
from leaderboard.tracks.claims import OUTCOMES, RULE, verdicts
from leaderboard.tracks.reproduction import published, reproduced
from leaderboard.tracks.tracks import (
    BASELINE,
    QUESTIONS,
    Question,
    Section,
    agreements,
    corruption_errors,
    sections,
    spreads,
    transfer_matrix,
)


@dataclass(frozen=True)
class Gallery:
    """The same showcase images, a column per network."""

    title: str
    key: str
    words: str
    models: tuple[str, ...]
    rows: tuple[tuple[Tile | None, ...], ...]
    """The original first."""


@dataclass(frozen=True)
class Show:
    """What a gallery shows of an attack's runs."""

    attack: str
    picture: str
    title: str
    words: str


SHOWS = (
    Show(
        "unchanged",
        "heatmap-before",
        "What the gradient shows",
        "Absolute gradient of the true class's logit, summed over the channels, of the unchanged image.",
    ),
    Show("pgd", "perturbed", "What a large step paints", "The image after the attack: what the network wants to see."),
    Show(
        "generate", "perturbed", "Made from seeds", "An image of each sample's class, climbed from a seed of colours."
    ),
)
TITLES = {
    "pgd": "Is what a large step paints seen by another network?",
    "generate": "Is what was made from seeds seen by another network?",
}


def ranked(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Return the runs that boards are made of: those of the attribution track."""
    return [run for run in runs if run.record.spec.protocol.track == "attribution"]


def add_track_pages(book: Book, runs: Sequence[StoredRun], read: RowReader, site: Staging, attacks: set[str]) -> None:
    """Add the pages of every track that ran, their index, the papers' tables, and the files that they show."""
    for run in runs:
        if run.record.spec.protocol.track != "attribution":
            site.add(f"data/rows/{run.record.run_id[:12]}.csv", to_csv(read.table(run)))
            if (tiles := showcase_tiles(run)) is not None:
                site.add(f"images/{sprite_name(run)}", sprite(tiles))
    for track in tracks(book):
        site.add(f"tracks/{track}.html", _page(book, track, read, attacks))
    site.add("tracks.html", render.render("tracks.html", root="", tracks=tracks(book)))
    printed = published()
    site.add(
        "reproduction.html",
        render.render(
            "reproduction.html",
            root="",
            papers=printed.papers,
            verdicts=verdicts(book, printed.claims, read),
            outcomes=OUTCOMES,
            rule=RULE,
            tables=reproduced(book, printed.tables),
            models=set(book.entries),
        ),
    )


def tracks(book: Book) -> dict[Track, Question]:
    """Return the tracks that have runs."""
    found = {protocol.track for protocol in book.protocols.values()}
    return {track: question for track, question in QUESTIONS.items() if track in found}


def _page(book: Book, track: Track, read: RowReader, attacks: set[str]) -> str:
    parts = sections(book, track)
    keys = [part.key for part in parts]
    distributions = [(key, rows) for key in keys if track == "alignment" and (rows := spreads(book, key, read))]
    matrices = [m for key in keys if track == "prediction" and (m := transfer_matrix(book, key)) is not None]
    return render.render(
        "track.html",
        root="../",
        question=QUESTIONS[track],
        sections=parts,
        pages=attacks,
        baseline=BASELINE,
        corruption={key: corruption_errors(book, key) for key in keys if track == "corruption"},
        matrices=matrices,
        spreads=distributions,
        agreements=_agreements(book, parts, read) if track == "alignment" else [],
        galleries=[g for key in keys if track == "alignment" for g in _galleries(book, key, read)],
    )


def _agreements(book: Book, parts: list[Section], read: RowReader) -> list[tuple[str, str, object]]:
    """Return, for each way to make images, on how many an independent network sees the class that the maker sees."""
    words = (
        "The share of images in which the judge predicts the class that the network predicts on which they were made."
    )
    return [
        (TITLES[attack], f"{part.key}: {words}", found)
        for part in parts
        for attack in book.attacks(part.key)
        if attack in TITLES and (found := agreements(book, part.key, attack, read))
    ]


def _galleries(book: Book, key: str, read: RowReader) -> list[Gallery]:
    return [g for show in SHOWS if (g := _gallery(book, key, show, read)) is not None]


def _gallery(book: Book, key: str, show: Show, read: RowReader) -> Gallery | None:
    """Return the showcase images of a protocol under one attack; None where none were kept, or nothing was made."""
    if show.attack == "unchanged" and book.attacks(key) != ["unchanged"]:
        return None
    runs = {model: run for model in book.models(key) if (run := book.run(key, model, show.attack)) is not None}
    drawn = {
        model: {strip.sample_id: {tile.picture: tile for tile in strip.tiles} for strip in strips(run, read)}
        for model, run in runs.items()
        if run.record.showcase
    }
    if not drawn:
        return None
    order = next(iter(runs[model] for model in drawn)).record.showcase
    first = next(iter(drawn.values()))
    rows = tuple(
        (first[sample]["original"], *(by_id.get(sample, {}).get(show.picture) for by_id in drawn.values()))
        for sample in order
    )
    return Gallery(show.title, key, show.words, tuple(drawn), rows)
