"""The models' pages, and the files that they link to.

These are rows, pictures, and the data for the page on which readers compare models.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.attack_results import Tally, tally
from leaderboard.boards.board import Board
from leaderboard.boards.profiles import profile
from leaderboard.comparisons.duel import model_script
from leaderboard.drawing.strips import showcase_tiles, sprite_name, strips
from leaderboard.drawing.tiles import sprite
from leaderboard.pages import render
from leaderboard.pages.site import Staging
from leaderboard.records.forks import in_shards
from leaderboard.records.index import Book
from leaderboard.records.rows import RowReader, to_csv


def add_models(
    book: Book,
    runs: Mapping[str, list[StoredRun]],
    made: list[Board],
    read: RowReader,
    site: Staging,
    *,
    processes: int,
) -> dict[str, Tally]:
    """Add every model's page and files to the site.

    Args:
        book: all runs that count.
        runs: all runs, by model.
        made: the boards.
        read: reads rows.
        site: receives the files.
        processes: number of processes that share the models.
        Returns:
            Costs and winners by run id.
    """
    names = sorted(runs)

    def some(shard: int) -> tuple[dict[str, Tally], dict[str, str]]:
        tallies: dict[str, Tally] = {}
        for name in names[shard::processes]:
            groups = _views(runs[name], made, read, site, tallies)
            page = render.model_page(book.entries[name], groups, set(names), profile(book, name))
            site.add(f"models/{name}.html", page)
        return tallies, site.checksums

    tallies: dict[str, Tally] = {}
    for of_shard, checksums in in_shards(processes, some):
        tallies |= of_shard
        site.checksums |= checksums  # a fork writes files, but only its own process knows their names
    return tallies


def _views(
    runs: list[StoredRun], made: list[Board], read: RowReader, site: Staging, tallies: dict[str, Tally]
) -> list[tuple[Board, list[render.RunView]]]:
    """Return a model's runs by board, as its page shows them.

    Adds the runs' files to `site`, and their costs and winners to `tallies`.
    """
    groups = []
    for board in made:
        of_board = [run for run in runs if run.record.spec.protocol == board.protocol]
        views = [_run_view(run, board, read, site, tallies) for run in of_board]
        views.sort(key=lambda view: (not view.on_board, view.is_floor, view.record.spec.attack.name))
        if views:
            groups.append((board, views))
    return groups


def _run_view(
    run: StoredRun, board: Board, read: RowReader, site: Staging, tallies: dict[str, Tally]
) -> render.RunView:
    record = run.record
    standing = board.by_name[record.entry.name]
    tallies[record.run_id] = tally(record, read.table(run))
    site.add(f"data/rows/{record.run_id[:12]}.csv", to_csv(read.table(run)))
    tiles = showcase_tiles(run)
    drawn = strips(run, read, tiles)
    if tiles is not None:
        site.add(f"images/{sprite_name(run)}", sprite(tiles))
    if standing.headline_run == run and not standing.remarks:
        site.add(f"compare/{board.protocol.key}/{record.entry.name}.js", model_script(board, run, read(run), drawn))
    on_board = board.shows(standing) and standing.runs.get(record.spec.attack.name) == run
    return render.RunView(
        run=run,
        shortfalls=tuple(board.edition.shortfalls(record)),
        on_board=on_board,
        common=standing.common.get(record.spec.attack.name, {}) if on_board else {},
        floor=standing.runs.get(board.floor) if record.spec.attack.name != board.floor else None,
        strips=drawn,
    )
