"""`bench ledger`: print the lowest values that any attack reached."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from bench.commands._options import JSON
from bench.core.errors import UnknownNameError, UsageError
from bench.core.text import printable
from bench.terminal import console
from bench.terminal.progress import ReadingProgress

if TYPE_CHECKING:
    from bench.core.schemas.spec import MetricSpec, RunSpec
    from bench.core.storage.stored_run import StoredRun
    from leaderboard.records.ledger import Account

EVERY = "all"


@click.command()
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.option("--protocol", metavar="NAME", help="Only this protocol and the versions that count together with it.")
@click.option("--model", metavar="NAME", help="Only this model.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Repeatable, or `all`; default: the metric by which each protocol ranks.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print one line per image as CSV.")
@JSON
def ledger(
    results: Path, protocol: str | None, model: str | None, metrics: tuple[str, ...], as_csv: bool, as_json: bool
) -> None:
    """Print the lowest values that any attack in RESULTS reached.

    There is one value per network, protocol, image and metric, with the attack that reached it. Only images that kept
    their class count. The table shows the means over the images, and on how many images each attack is the lowest;
    --csv and --json show every image.
    """
    from leaderboard.records.ledger import accounts, is_primary, read_outcomes
    from leaderboard.records.rows import read_runs

    if as_csv and as_json:
        raise UsageError("expected --csv or --json, got both; give one")
    runs = _chosen(read_runs(results), protocol, model, metrics)

    def wanted(spec: RunSpec, metric: MetricSpec) -> bool:
        return metric.name in metrics or EVERY in metrics if metrics else is_primary(spec, metric)

    with ReadingProgress(len(runs)) as progress:
        found = accounts(runs, progress.counting(read_outcomes), wanted)
    found = [account for account in found if protocol is None or protocol in account.protocols]
    if not found:
        raise UsageError(f"expected a metric with a direction, got {', '.join(metrics)}; leave --metric out")
    if as_json:
        click.echo(json.dumps([_document(account) for account in found]))
    elif as_csv:
        _print_csv(found)
    else:
        _show(found)


def _chosen(
    runs: list[StoredRun], protocol: str | None, model: str | None, metrics: tuple[str, ...]
) -> list[StoredRun]:
    """Return the runs that the filters keep.

    A protocol's filter keeps all runs of the models, as other versions may count together with it.

    Raises:
        UnknownNameError: if no record has the name.
    """
    from model_zoo.hub import bare

    known = {run.record.spec.protocol.key for run in runs}
    if protocol is not None and protocol not in known:
        raise UnknownNameError("protocols with records", protocol, known)
    if protocol is not None:
        from leaderboard.records.ledger import conditions

        named = {conditions(run.record.spec) for run in runs if run.record.spec.protocol.key == protocol}
        runs = [run for run in runs if conditions(run.record.spec) in named]
    if model is not None:
        models = {run.record.entry.name for run in runs}
        if bare(model) not in models:
            raise UnknownNameError("models with records", bare(model), models)
        runs = [run for run in runs if run.record.entry.name == bare(model)]
    measured = {metric.name for run in runs for metric in run.record.spec.metrics}
    for name in metrics:
        if name not in {*measured, EVERY}:
            raise UnknownNameError("metrics of these records", name, measured)
    return runs


def _lines(account: Account) -> Iterator[dict[str, Any]]:
    """Yield one line per image, with LINE_COLUMNS."""
    for reached in account.reached:
        spec = reached.run.record.spec
        yield {
            "protocols": " ".join(account.protocols),
            "model": account.model,
            "weights_sha256": account.weights_sha256,
            "threat": account.threat,
            "metric": account.metric.name,
            "sample_id": reached.sample_id,
            "value": reached.value,
            "attack": spec.attack.name,
            "version": spec.attack.version,
            "run_id": reached.run.record.run_id,
        }


def _document(account: Account) -> dict[str, Any]:
    own = ("sample_id", "value", "attack", "version", "run_id")
    return {
        "protocols": account.protocols,
        "model": account.model,
        "weights_sha256": account.weights_sha256,
        "threat": account.threat,
        "metric": account.metric.name,
        "higher_is": account.metric.higher_is,
        "images": len(account.ids),
        "mean": account.mean if account.ids else None,
        "found_by": account.found_by,
        "lowest": [{name: line[name] for name in own} for line in _lines(account)],
    }


def _print_csv(found: list[Account]) -> None:
    import pandas as pd

    from leaderboard.records.ledger import LINE_COLUMNS
    from leaderboard.records.rows import to_csv

    lines = [line for account in found for line in _lines(account)]
    click.echo(to_csv(pd.DataFrame(lines, columns=list(LINE_COLUMNS))).decode(), nl=False)


def _show(found: list[Account]) -> None:
    table = Table(title="Lowest values that any attack reached", title_justify="left")
    for name in ("protocols", "model", "threat", "metric"):
        table.add_column(name, overflow="fold")
    table.add_column("mean", justify="right")
    table.add_column("images", justify="right")
    table.add_column("lowest on", overflow="fold")
    for account in found:
        finders = "\n".join(f"{attack}: {count}" for attack, count in account.found_by.items())
        table.add_row(
            "\n".join(account.protocols),
            account.model,
            account.threat,
            account.metric.name,
            f"{account.mean:.3f}" if account.ids else "undefined",
            str(len(account.ids)),
            Text(printable(finders)),
        )
    console.out.print(table)
