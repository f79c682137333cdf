"""`bench study`: measure the pieces of a study."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from bench.commands._options import DATA, DEVICE, JSON, RESULTS, Command, read_parameters
from bench.commands._workers import WORKERS, chosen_executor
from bench.core.storage.folders import cache_folder
from bench.core.text import counted
from bench.terminal import console
from bench.terminal.progress import StudyProgress, duration

if TYPE_CHECKING:
    from bench.core.schemas.units import PieceUnit
    from bench.core.storage.studies import StudyStore
    from bench.sweeps.study import Plan

_OPTIONS = (
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a parameter of the study."),
    click.option("--limit", type=int, metavar="N", help="Only the first N pieces, which are the most important."),
    click.option("--dry-run", is_flag=True, help="Only print the pieces that are left and their estimated time."),
    WORKERS,
    RESULTS,
    DATA,
    DEVICE,
    JSON,
)


def _options(command: Command) -> Command:
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@click.command()
@click.argument("name")
@_options
def study(
    name: str,
    settings: tuple[str, ...],
    limit: int | None,
    dry_run: bool,
    executor: str,
    workers: int | None,
    timeout: float | None,
    params: tuple[str, ...],
    results: Path,
    device: str,
    as_json: bool,
) -> None:
    """Measure the pieces of a study.

    NAME is one of `bench list studies`; `bench show NAME` prints what it asks and its parameters. Each piece becomes
    one record. Finished pieces are skipped: give the same command again to continue an interrupted study. A failed
    piece is reported and does not stop the others (exit code 1).
    """
    from bench.core.storage.studies import StudyStore
    from bench.sweeps.study import complete, plan

    who = chosen_executor(executor, device, params, workers=workers, timeout=timeout)
    planned, store = plan(name, read_parameters(settings), limit), StudyStore(results)
    if dry_run:
        _show_plan(planned, store, who.workers or who.neighbours, as_json)
        return
    with StudyProgress() as progress:
        outcome = complete(planned, store, cache_folder() / "work", who, progress)
    if as_json:
        failed = [failure._asdict() for failure in outcome.failures]
        click.echo(json.dumps({"pieces": [str(piece.path) for piece in outcome.finished], "failures": failed}))
    else:
        for what, why in outcome.failures:
            console.show_error(f"{what}: {why}")
        done = f"{len(outcome.finished)} of {counted(len(planned.pieces), 'piece')} filed"
        console.out.print(
            f"{done} in {store.root / planned.card.key}; bench leaderboard build draws them", soft_wrap=True
        )
    if outcome.failures:
        sys.exit(1)


def _show_plan(planned: Plan, store: StudyStore, workers: int, as_json: bool) -> None:
    from bench.sweeps.study import seconds_of

    left, each = planned.left(store), seconds_of(list(store.pieces(planned.card.key)))
    if as_json:
        click.echo(json.dumps({"pieces": [_as_json(piece) for piece in left], "seconds": each}))
        return
    _show_pieces(f"{planned.card.key}: {len(left)} of {counted(len(planned.pieces), 'piece')} to do", left)
    total = None if each is None else each * len(left) / workers
    console.out.print(f"estimated from earlier pieces: {duration(total)} with {counted(workers, 'worker')}")


def _show_pieces(title: str, pieces: Sequence[PieceUnit]) -> None:
    table = Table(*(pieces[0].spec.piece if pieces else ("piece",)), title=title, title_justify="left")
    for piece in pieces:
        table.add_row(*(str(value) for value in piece.spec.piece.values()))
    console.out.print(table)


def _as_json(piece: PieceUnit) -> dict[str, object]:
    return {"id": piece.id, "piece": piece.spec.piece}


@click.command()
@_options
@click.pass_context
def retrain(context: click.Context, /, **options: object) -> None:
    """Remove the important pixels and train again: `bench study retrain`."""
    context.invoke(study, name="retrain", **options)
