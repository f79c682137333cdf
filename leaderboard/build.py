"""Building the site: the same records give the same bytes."""

from __future__ import annotations

import gc
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.core.errors import UsageError
from bench.core.storage.files import canonical_json
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.attack_results import Definition, attack_results
from leaderboard.boards.best_known import Ledger, with_best_known
from leaderboard.boards.board import Board
from leaderboard.boards.certainty import with_certainty
from leaderboard.boards.standings import boards
from leaderboard.comparisons.attack_costs import Race, races
from leaderboard.comparisons.duel import samples_script
from leaderboard.comparisons.models import comparisons, page_name
from leaderboard.comparisons.rivalry import rivalry
from leaderboard.data import croissant, latex
from leaderboard.data.document import board_data, data_package, schema
from leaderboard.data.feed import feed
from leaderboard.data.tables import attacks_table, pairs_table, standings_table
from leaderboard.drawing.exhibit import find_exhibit, gallery
from leaderboard.drawing.plots import distribution
from leaderboard.pages import render
from leaderboard.pages.models import add_models
from leaderboard.pages.reproduction import add_reproduction_page
from leaderboard.pages.site import Staging, staged
from leaderboard.pages.studies import add_study_pages
from leaderboard.pages.tracks import add_track_pages, ranked, tracks
from leaderboard.records.forks import processes_for
from leaderboard.records.image_sets import ReadRows
from leaderboard.records.index import Book
from leaderboard.records.ledger import Account, accounts
from leaderboard.records.rows import RowReader, read_runs, summary_table, to_csv
from leaderboard.records.studies import read_studies


@dataclass(frozen=True)
class BuildReport:
    """Counts of what a build wrote."""

    out: Path
    protocols: int
    models: int
    runs: int
    files: int


@contextmanager
def _uncollected() -> Iterator[None]:
    """Switch off garbage collection for the duration of a build.

    What a build reads lives until the build ends, and searching it for cycles would take a fifth of the time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@_uncollected()
def build(
    results: Path | Sequence[Path],
    out: Path,
    home: str | None = None,
    definitions: Mapping[str, Definition] | None = None,
    processes: int | None = None,
) -> BuildReport:
    """Write the leaderboard of some records as pages, CSV and JSON.

    Nothing in `out` changes before every file is made. Files of an earlier build that the new one lacks are deleted.

    Args:
        results: the folder of records, or several.
        out: the folder of pages.
        home: address under which the pages will be published, for the feed's links.
        definitions: the descriptions of attacks, by name, for their pages.
        processes: number of processes that share the work on rows and models' pages. The default grows with the number
        of models, up to the number of processors.
    Raises:
        UsageError: if no record exists, or `out` holds files that are not an earlier build.
        IntegrityError: if a record, its rows or its showcase is damaged.
        EnvironmentFault: if `out` cannot be written.
    """
    runs, rows = read_runs(*([results] if isinstance(results, Path) else results)), RowReader()
    by_model: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_model[run.record.entry.name].append(run)
    processes = processes or processes_for(len(by_model))
    rows.read_all(runs, processes)
    known = accounts(ranked(runs), rows.table)
    made, compared = _boards(runs, rows, known), races(known, rows.table)
    book = Book(runs)
    with staged(out) as site:
        for file in sorted((render.FOLDER / "static").iterdir()):
            site.add(f"static/{file.name}", file.read_bytes())
        tallies = add_models(book, by_model, made, rows, site, processes=processes)
        rivalries = {board.protocol.key: rivalry(board, rows.table) for board in made}
        for attack in sorted({attack for board in made for attack in board.attacks}):
            site.add(
                f"attacks/{attack}.html",
                render.attack_page(
                    attack, attack_results(attack, made, tallies, rivalries), (definitions or {}).get(attack)
                ),
            )
        extra = {name for board in made for name in _extra_pages(board, rows, site)}
        site.add("index.html", render.index_page(made, find_exhibit(made, rows), extra, tracks(book)))
        add_track_pages(book, runs, rows, site, {attack for board in made for attack in board.attacks})
        studies = read_studies([results] if isinstance(results, Path) else results)
        add_study_pages(studies, site)
        site.add("attacks.html", render.attacks_page(compared, {attack for board in made for attack in board.attacks}))
        site.add("compare.html", render.choice_page(made, extra))
        site.add("about.html", render.about_page(made))
        add_reproduction_page(book, rows, studies, site)
        _add_data(made, compared, runs, read=rows, site=site, home=home)
    protocols = {run.record.spec.protocol.key for run in runs}
    return BuildReport(out, len(protocols), len(by_model), len(runs), len(site.checksums))


def exported(results: Path, name: str) -> bytes:
    """Return one file of the site's data folder, without building pages.

    Raises:
        UsageError: if no record or no such file exists.
        IntegrityError: if a record or its rows are damaged.
    """
    runs = read_runs(results)
    rows = RowReader()
    known = accounts(ranked(runs), rows.table)
    made = _boards(runs, rows, known)
    files = _files(made, races(known, rows.table), runs)
    if name not in files:
        raise UsageError(f"expected one of {', '.join(files)}, got {name!r}")
    content = files[name]()
    return content.encode() if isinstance(content, str) else content


def _boards(runs: list[StoredRun], rows: RowReader, known: list[Account]) -> list[Board]:
    """Return the boards of the runs, with certainty and best known values."""
    of_boards = ranked(runs)
    ledger = Ledger(known, of_boards)
    made = boards(of_boards, rows.table)
    return [with_best_known(with_certainty(board, rows), ledger, rows.table) for board in made]


def _files(made: list[Board], compared: list[Race], runs: list[StoredRun]) -> dict[str, Callable[[], bytes | str]]:
    """Return the functions that make the data files, by file name."""
    common = {
        run.record.run_id: standing.common[attack]
        for board in made
        for standing in board.by_name.values()
        for attack, run in standing.runs.items()
        if attack in standing.common
    }
    files: dict[str, Callable[[], bytes | str]] = {
        "leaderboard.csv": lambda: to_csv(summary_table(runs, common)),
        "standings.csv": lambda: to_csv(standings_table(made)),
        "attacks.csv": lambda: to_csv(attacks_table(compared)),
        "pairs.csv": lambda: to_csv(pairs_table(made)),
        "models.bib": lambda: latex.bibliography(made),
        "leaderboard.json": lambda: canonical_json(board_data(made, runs).model_dump(mode="json")) + "\n",
    }
    return files | {f"{board.protocol.key}.tex": partial(latex.table, board) for board in made}


def _add_data(
    made: list[Board], compared: list[Race], runs: list[StoredRun], *, read: ReadRows, site: Staging, home: str | None
) -> None:
    """Add the files of the data folder."""
    for name, content in _files(made, compared, runs).items():
        site.add(f"data/{name}", content())
    documents = {"schema": schema(), "datapackage": data_package(runs), "feed": feed(runs, home)}
    for board in made:
        key, table = board.protocol.key, croissant.sample_table(board, runs, read)
        text = to_csv(table)
        site.add(f"data/{key}-samples.csv", text)
        documents[f"{key}-croissant"] = croissant.description(board, table, text, runs)
    for name, document in documents.items():
        site.add(f"data/{name}.json", canonical_json(document) + "\n")


def _extra_pages(board: Board, read: ReadRows, site: Staging) -> list[str]:
    """Add the pages of a board's plots, images and pairs of models.

    Returns the names of the pages of images and pairs, which not every board has.
    """
    key = board.protocol.key
    site.add(f"plots/{key}.html", render.plots_page(board, distribution(board, read)))
    names = []
    if images := gallery(board, read):
        names.append(f"images/{key}.html")
        site.add(names[-1], render.gallery_page(board, images))
    for pair in comparisons(board, read):
        names.append(f"compare/{key}/{page_name(pair.first.entry.name, pair.second.entry.name)}")
        site.add(names[-1], render.compare_page(board, pair))
    if board.compared:
        site.add(f"compare/{key}/samples.js", samples_script(board, read))
    return names
