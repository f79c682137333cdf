"""`bench run`: attack one model under a protocol."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
from rich.table import Table
from rich.text import Text

from bench import registry
from bench.commands._images import IMAGES, measured, written
from bench.commands._options import COMPILED, DATA, DEVICE, JSON, PROTOCOL, RESULTS, read_parameters
from bench.core.schemas.protocol import Protocol, SearchPrecision
from bench.core.schemas.records import Summary
from bench.core.storage.folders import cache_folder
from bench.core.text import counted, printable
from bench.terminal import console
from bench.terminal.progress import RunProgress

if TYPE_CHECKING:
    from bench.core.storage.stored_run import StoredRun

NONE_CORRECT = (
    "No image is classified correctly, so that there is nothing to take a mean over. Does the network expect this data "
    "set, these classes in this order, and this normalisation (mean and std of its entry)? A larger --limit helps a "
    "network that is merely weak."
)


@click.command()
@click.option(
    "--model",
    required=True,
    metavar="hub:NAME",
    help="A registered model, hub:ORG/REPO[@COMMIT], file:ENTRY.toml, or ZOO:NAME, which another library loads "
    "(bench list zoos).",
)
@click.option(
    "--attack", "attacks", multiple=True, metavar="NAME", help="Repeatable (default: all attacks of the protocol)."
)
@PROTOCOL
@IMAGES
@click.option(
    "--limit", type=int, metavar="N", help="Use only the first N samples of the protocol; the run is not ranked."
)
@click.option(
    "--set", "params", multiple=True, metavar="KEY=VALUE", help="Set a parameter of the attack; the run is not ranked."
)
@click.option("--epsilon", metavar="A/B", help="Replace the protocol's radius; the run is not ranked.")
@click.option("--beta", type=float, help="Replace the sharpness of the surrogate; the run is not ranked.")
@click.option("--nodes", type=int, help="Replace the number of quadrature nodes in the search; the run is not ranked.")
@click.option(
    "--precision",
    type=click.Choice(get_args(SearchPrecision)),
    help="Replace the precision of the search on a GPU; the run is not ranked.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="Number of images attacked at once; does not change results."
)
@click.option(
    "--memory", metavar="SIZE", help="Memory limit for gradient graphs, e.g. 2GB (default: most of the free memory)."
)
@COMPILED
@RESULTS
@click.option(
    "--pages",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/pages"),
    show_default=True,
    help="Folder for the page of these runs; with --json no page is written.",
)
@DATA
@DEVICE
@JSON
def run(
    model: str,
    attacks: tuple[str, ...],
    protocol: str,
    images: Path | None,
    size: str | None,
    limit: int | None,
    params: tuple[str, ...],
    epsilon: str | None,
    beta: float | None,
    nodes: int | None,
    precision: str | None,
    batch_size: int | None,
    memory: str | None,
    compiled: bool,
    results: Path,
    pages: Path,
    device: str,
    as_json: bool,
) -> None:
    """Attack a model's explanations under a protocol and file the results.

    The protocol's floor (random noise) runs first, for comparison with the attack. Give the same command again to
    continue an interrupted run.
    """
    from bench.core.storage.store import Store
    from bench.run.attack.memory import parse
    from bench.run.execution import Execution
    from bench.run.request import Request
    from bench.run.steps import run as complete

    again = None if images is None else shlex.join(["bench", "run", *written(click.get_current_context())])
    protocol, limit = measured(images, size, [model], protocol, limit)
    rules = registry.load("protocols", protocol)
    named = attacks or [component.name for component in rules.attacks]
    floor = next((name for name in named if name.partition("@")[0] == rules.floor), rules.floor)
    chosen = list(dict.fromkeys([floor, *named]))
    overrides = read_parameters(params)
    requests = [
        Request(
            model=model,
            attack=attack,
            protocol=protocol,
            limit=limit,
            params=overrides if attack != floor or chosen == [floor] else {},
            epsilon=epsilon,
            beta=beta,
            nodes=nodes,
            precision=precision,
        )
        for attack in chosen
    ]
    budget = None if memory is None else parse(memory)
    execution = Execution(Store(results), cache_folder() / "work", device, batch_size, memory=budget, compiled=compiled)
    with RunProgress() as progress:

        def report(finished: Sequence[StoredRun]) -> None:
            progress.close()
            if as_json:
                click.echo(json.dumps([run.record.model_dump(mode="json") for run in finished]))
            else:
                show_runs(finished, rules)
                _show_page(finished, pages, model, again)

        complete(requests, execution, progress, report=report)


def _show_page(finished: Sequence[StoredRun], pages: Path, model: str, again: str | None) -> None:
    """Build the page of finished runs, and print where it lies."""
    from leaderboard.pages.run import write_run_page

    written = write_run_page(finished, pages, again, model=model)
    for what, path in (("page", written.page), ("strip", written.strip)):
        if path is not None:
            console.out.print(f"{what}: {path}", soft_wrap=True)


def show_runs(runs: Sequence[StoredRun], protocol: Protocol) -> None:
    """Print the means of one model's finished runs, attack beside floor."""
    record = runs[0].record
    title = (
        f"{record.spec.model.name} under {protocol.key}, {counted(record.samples, 'image')}, {record.correct} correct"
    )
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.add_column("metric")
    for run in runs:
        table.add_column(run.record.spec.attack.name, justify="right")
    for metric in protocol.metrics:
        cells = [_interval(run.record.headline[metric.column]) for run in runs]
        style = "bold" if metric.column == protocol.primary_metric else ""
        table.add_row(metric.column, *cells, style=style)
    table.add_section()
    table.add_row("n", *(str(run.record.correct) for run in runs))
    table.add_row("infeasible", *(str(run.record.infeasible) for run in runs))
    whole = f" ({', '.join(record.over_all)}: over all)" if record.over_all else ""
    alone = "; one image has no interval" if record.correct == 1 or record.samples == 1 else ""
    table.caption = (
        f"mean [95 % bootstrap interval] over the correctly classified images{whole}{alone}; "
        f"attacks minimise {protocol.primary_metric}, and boards rank by it"
    )
    console.out.print(table)
    if record.correct == 0:
        console.out.print(NONE_CORRECT)
    for run in runs:
        for flag in run.record.flags:
            about = registry.load("flags", flag.name)
            told = printable(f": {flag.detail}; {about.means}. What to do: {about.remedy}.")
            console.out.print(Text.assemble((f"{run.record.spec.attack.name}: {flag.name}", "yellow"), told))
    if not protocol.rankable:
        own = protocol.samples.folder is not None
        registered = protocol.key in registry.names("protocols")
        why = "bench list protocols says what each is for" if registered else "it is a protocol of your own"
        why = "its images are your own" if own else why
        console.out.print(f"{protocol.key} is not ranked; {why}.")
    for run in runs:
        console.out.print(f"record: {run.path}", soft_wrap=True)


def _interval(summary: Summary) -> str:
    if summary.mean is None:
        return "undefined"
    if summary.n == 1:
        return f"{summary.mean:.3f}"
    return f"{summary.mean:.3f} [{summary.low:.3f}, {summary.high:.3f}]"
