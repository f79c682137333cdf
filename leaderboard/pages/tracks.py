"""The pages of the tracks and their index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.core.schemas.protocol import ATTRIBUTION
from bench.core.schemas.track import Show, Track
from bench.core.storage.stored_run import StoredRun
from leaderboard.drawing.strips import Tile, showcase_tiles, sprite_name, strips
from leaderboard.drawing.studies import Drawn
from leaderboard.drawing.tiles import sprite
from leaderboard.pages import render
from leaderboard.pages.site import Staging
from leaderboard.records.index import Book
from leaderboard.records.rows import RowReader, to_csv
from leaderboard.tracks.maps import map_tables
from leaderboard.tracks.radii import radius_figures
from leaderboard.tracks.spreads import spreads
from leaderboard.tracks.tracks import Section, corruption_errors, questions, sections
from leaderboard.tracks.transfers import agreements, transfer_matrix


@dataclass(frozen=True)
class Gallery:
    """A table of showcase images, with a column per network."""

    title: str
    key: str
    words: str
    models: tuple[str, ...]
    rows: tuple[tuple[Tile | None, ...], ...]
    """One row per image, the original image first."""


def ranked(runs: Iterable[StoredRun]) -> list[StoredRun]:
    """Return the runs of the attribution track, which has the boards."""
    return [run for run in runs if run.record.spec.protocol.track == ATTRIBUTION]


def add_track_pages(book: Book, runs: Sequence[StoredRun], read: RowReader, site: Staging, attacks: set[str]) -> None:
    """Add the pages of the tracks that have runs, and their files.

    Also adds the index of tracks.
    """
    for run in runs:
        if run.record.spec.protocol.track != ATTRIBUTION:
            site.add(f"data/rows/{run.record.run_id[:12]}.csv", to_csv(read.table(run)))
            if (tiles := showcase_tiles(run)) is not None:
                site.add(f"images/{sprite_name(run)}", sprite(tiles))
    for track in tracks(book):
        site.add(f"tracks/{track}.html", _page(book, runs, track, read, attacks))
    site.add("tracks.html", render.render("tracks.html", root="", tracks=tracks(book)))


def tracks(book: Book) -> dict[str, Track]:
    """Return the tracks that have runs."""
    found = {protocol.track for protocol in book.protocols.values()}
    return {name: track for name, track in questions().items() if name in found}


def _page(book: Book, runs: Sequence[StoredRun], name: str, read: RowReader, attacks: set[str]) -> str:
    parts, track = sections(book, name), questions()[name]
    keys = [part.key for part in parts]
    errors = {} if track.baseline is None else {key: corruption_errors(book, key, track.baseline) for key in keys}
    return render.render(
        "track.html",
        root="../",
        question=track,
        sections=parts,
        maps=map_tables(book, parts, track.metrics),
        pages=attacks,
        corruption=errors,
        radii={key: _radii(runs, key, track.metrics) for key in keys},
        matrices=[m for key in keys if track.transfers and (m := transfer_matrix(book, key)) is not None],
        spreads=[(key, rows) for key in keys if (rows := spreads(book, key, track.spreads, read))],
        agreements=_agreements(book, track, parts, read),
        galleries=[g for key in keys for show in track.shows if (g := _gallery(book, key, show, read)) is not None],
    )


def _radii(runs: Sequence[StoredRun], key: str, metrics: Sequence[str]) -> list[Drawn]:
    own = [run for run in runs if run.record.spec.protocol.key == key]
    return [figure for metric in metrics for figure in radius_figures(own, metric)]


def _agreements(book: Book, track: Track, parts: list[Section], read: RowReader) -> list[tuple[str, str, object]]:
    """Return a title, a caption and agreements per way to make images.

    An agreement is the share of images in which an independent network sees the same class as the network on which they
    were made.
    """
    words = (
        "The share of images for which the judge predicts the same class as the network on which the images were made."
    )
    titles = {opinion.attack: opinion.title for opinion in track.second_opinions}
    return [
        (titles[attack], f"{part.key}: {words}", found)
        for part in parts
        for attack in book.attacks(part.key)
        if attack in titles and (found := agreements(book, part.key, attack, read))
    ]


def _gallery(book: Book, key: str, show: Show, read: RowReader) -> Gallery | None:
    """Return the showcase images of a protocol under one attack, or None.

    None means that no run kept images, or that the protocol has other attacks and the images are for one attack alone.
    """
    if show.alone and book.attacks(key) != [show.attack]:
        return None
    runs = {model: run for model in book.models(key) if (run := book.run(key, model, show.attack)) is not None}
    drawn = {
        model: {strip.sample_id: {tile.picture: tile for tile in strip.tiles} for strip in strips(run, read)}
        for model, run in runs.items()
        if run.has_pictures()
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
