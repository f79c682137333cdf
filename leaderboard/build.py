"""From a folder of records to a folder of pages: same records, same bytes."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from bench.core.entry import ModelEntry
from bench.core.files import canonical_json
from bench.core.store import StoredRun
from leaderboard import latex, pages
from leaderboard.attack import Cost, campaigns, cost
from leaderboard.board import Board, boards, newest_weights, shortfalls
from leaderboard.certainty import with_certainty
from leaderboard.comparison import comparisons, page_name
from leaderboard.exhibit import find_exhibit, gallery
from leaderboard.export import board_data, pairs_table, standings_table
from leaderboard.plots import distribution
from leaderboard.rows import checked_rows, read_rows, read_runs, read_table, summary_table, to_csv
from leaderboard.site import Staging, staged
from leaderboard.strips import draw_sprite, sprite_name, strips


@dataclass(frozen=True)
class BuildReport:
    """What a build made."""

    out: Path
    protocols: int
    models: int
    runs: int
    files: int


def build(results: Path, out: Path) -> BuildReport:
    """Write the leaderboard of the records in `results` to `out`, as pages, CSV and JSON.

    Everything is made before anything in `out` changes; files of an earlier build that are no longer part of it go.

    Raises:
        UsageError: if there is no record, or `out` holds something else than an earlier build.
        IntegrityError: if a record, its rows or its showcase is damaged.
        EnvironmentFault: if `out` cannot be written.
    """
    runs = read_runs(results)
    made = [with_certainty(board, read_rows) for board in boards(runs)]
    by_model: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_model[run.record.entry.name].append(run)
    with staged(out) as site:
        for file in sorted((pages.FOLDER / "static").iterdir()):
            site.add(f"static/{file.name}", file.read_bytes())
        costs: dict[str, Cost] = {}
        for name, of_model in sorted(by_model.items()):
            groups = _views(of_model, made, site, costs)
            site.add(f"models/{name}.html", pages.model_page(_newest(of_model), groups, set(by_model)))
        for attack in sorted({attack for board in made for attack in board.attacks}):
            site.add(f"attacks/{attack}.html", pages.attack_page(attack, campaigns(attack, made, costs)))
        extra = {name for board in made for name in _extra_pages(board, site)}
        site.add("index.html", pages.index_page(made, find_exhibit(made), extra))
        site.add("about.html", pages.about_page(made))
        site.add("data/leaderboard.csv", to_csv(summary_table(runs)))
        site.add("data/standings.csv", to_csv(standings_table(made)))
        site.add("data/pairs.csv", to_csv(pairs_table(made)))
        site.add("data/models.bib", latex.bibliography(made))
        site.add("data/leaderboard.json", canonical_json(board_data(made, runs)) + "\n")
    return BuildReport(out, len(made), len(by_model), len(runs), len(site.checksums))


def _extra_pages(board: Board, site: Staging) -> list[str]:
    """Add a board's plots, its LaTeX table, its images and its pairs; return the names of the latter two's pages."""
    key = board.protocol.key
    site.add(f"plots/{key}.html", pages.plots_page(board, distribution(board, read_rows)))
    site.add(f"data/{key}.tex", latex.table(board))
    names = []
    if images := gallery(board):
        names.append(f"images/{key}.html")
        site.add(names[-1], pages.gallery_page(board, images))
    for pair in comparisons(board, read_rows):
        names.append(f"compare/{key}/{page_name(pair.first.entry.name, pair.second.entry.name)}")
        site.add(names[-1], pages.compare_page(board, pair))
    return names


def _newest(runs: list[StoredRun]) -> ModelEntry:
    """Return a model's newest entry."""
    weights = newest_weights(runs)
    newest = max(
        (run for run in runs if run.record.spec.model.weights_sha256 == weights),
        key=lambda run: (run.record.environment.started, run.record.run_id),
    )
    return newest.record.entry


def _views(
    runs: list[StoredRun], made: list[Board], site: Staging, costs: dict[str, Cost]
) -> list[tuple[Board, list[pages.RunView]]]:
    """Return a model's runs by board, as its page shows them; their files go to the site, their costs to `costs`."""
    groups = []
    for board in made:
        of_board = [run for run in runs if run.record.spec.protocol == board.protocol]
        views = [_run_view(run, board, site, costs) for run in of_board]
        views.sort(key=lambda view: (not view.on_board, view.is_floor, view.record.spec.attack.name))
        if views:
            groups.append((board, views))
    return groups


def _run_view(run: StoredRun, board: Board, site: Staging, costs: dict[str, Cost]) -> pages.RunView:
    record = run.record
    standing = board.by_name[record.entry.name]
    table = read_table(run)
    rows = checked_rows(run, table)
    costs[record.run_id] = cost(record, rows)
    site.add(f"data/rows/{record.run_id[:12]}.csv", to_csv(table))
    drawn = strips(run, rows)
    if (sprite := draw_sprite(run)) is not None:
        site.add(f"images/{sprite_name(run)}", sprite)
    return pages.RunView(
        run=run,
        shortfalls=tuple(shortfalls(record, board.engine)),
        on_board=standing.runs.get(record.spec.attack.name) == run,
        floor=standing.runs.get(board.floor) if record.spec.attack.name != board.floor else None,
        strips=drawn,
    )
