"""`bench sweep` and `bench status`: run many models under many attacks."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from bench import registry
from bench.commands._images import IMAGES, measured
from bench.commands._options import COMPILED, DATA, DEVICE, JSON, PROTOCOL, RESULTS
from bench.commands._workers import WORKERS, chosen_executor
from bench.core.errors import IntegrityError, UsageError
from bench.core.storage.folders import cache_folder
from bench.core.text import printable
from bench.terminal import console
from bench.terminal.progress import RunProgress, duration

if TYPE_CHECKING:
    from bench.core.schemas.protocol import Protocol
    from bench.run.execution import Execution
    from bench.sweeps.status import SweepStatus
    from bench.sweeps.sweep import Failure, Outcome, SweepRun


@click.command()
@click.option(
    "--models",
    multiple=True,
    required=True,
    metavar="hub:NAME,…",
    help="As for bench run; repeatable, or with commas. hub:all: all registered models of the data set.",
)
@click.option(
    "--attacks",
    multiple=True,
    metavar="NAME,…",
    help="Repeatable, or with commas (default: all attacks of the protocol).",
)
@PROTOCOL
@IMAGES
@click.option(
    "--limit", type=int, metavar="N", help="Use only the first N samples of the protocol; the runs are not ranked."
)
@WORKERS
@click.option(
    "--batch-size", type=click.IntRange(min=1), help="Number of images attacked at once; does not change results."
)
@click.option(
    "--memory",
    metavar="SIZE",
    help="Memory limit for the gradient graphs of all workers, e.g. 8GB (default: most of the free memory).",
)
@click.option("--dry-run", is_flag=True, help="Only print the work that is left and its estimated time.")
@COMPILED
@RESULTS
@DATA
@DEVICE
@JSON
def sweep(
    models: tuple[str, ...],
    attacks: tuple[str, ...],
    protocol: str,
    images: Path | None,
    size: str | None,
    limit: int | None,
    executor: str,
    workers: int | None,
    timeout: float | None,
    params: tuple[str, ...],
    batch_size: int | None,
    memory: str | None,
    compiled: bool,
    dry_run: bool,
    results: Path,
    device: str,
    as_json: bool,
) -> None:
    """Run many models under many attacks, by many workers.

    The runs are equal, to the byte, to runs by `bench run`. The number of workers and their crashes do not change them.
    Finished runs are skipped: give the same command again to continue an interrupted sweep. A failed run is reported
    and does not stop the others (exit code 1). `bench status` in another terminal shows the progress.
    """
    from bench.core.compute.machine import pick_device
    from bench.core.storage.store import Store
    from bench.run.attack.memory import share
    from bench.run.execution import Execution
    from bench.sweeps.sweep import Wanted, choose
    from bench.sweeps.sweep import sweep as complete

    listed = _models(models, registry.load("protocols", protocol))
    protocol, limit = measured(images, size, listed, protocol, limit)
    rules: Protocol = registry.load("protocols", protocol)
    named = _words("--attacks", attacks) if attacks else [component.name for component in rules.attacks]
    who = chosen_executor(executor, device, params, workers=workers, timeout=timeout)
    runs, failures = choose(Wanted(listed, named, protocol, rules.floor, limit))
    each = share(memory, who.neighbours, pick_device(who.device))
    execution = Execution(
        Store(results), cache_folder() / "work", who.device, batch_size, memory=each, compiled=compiled
    )
    if dry_run:
        _show_plan(runs, failures, execution, who.workers or who.neighbours, as_json)
        sys.exit(1 if failures else 0)
    with RunProgress() as progress:
        outcome = complete(runs, execution, who, progress)
    outcome = outcome._replace(failures=[*failures, *outcome.failures])
    if as_json:
        failed = [failure._asdict() for failure in outcome.failures]
        click.echo(json.dumps({"runs": [str(run.path) for run in outcome.finished], "failures": failed}))
    else:
        _show_outcome(outcome, len(runs))
    if outcome.failures:
        sys.exit(1)


@click.command()
@JSON
def status(as_json: bool) -> None:
    """Print the progress of sweeps.

    It is read from the folder of unfinished work (BENCH_CACHE).
    """
    from bench.sweeps.status import statuses

    unreadable: list[IntegrityError] = []
    found = list(statuses(cache_folder() / "work", unreadable.append))
    if as_json:
        click.echo(json.dumps([_as_json(each) for each in found]))
    else:
        for each in found:
            _show_status(each)
    for error in unreadable:
        console.show_error(str(error))
    if unreadable:
        sys.exit(IntegrityError.exit_code)
    if not found and not as_json:
        console.out.print("No sweep was begun here; bench sweep --help")


def _words(option: str, given: Sequence[str]) -> list[str]:
    """Return the names that an option lists.

    The option may be repeated, and names may be separated by commas.
    """
    if not (words := [word for text in given for word in text.split(",") if word]):
        raise UsageError(f"expected names for {option}, got {','.join(given)!r}; bench list shows all names")
    return words


def _models(names: Sequence[str], protocol: Protocol) -> list[str]:
    fitting = [
        f"hub:{name}"
        for name in registry.names("models")
        if registry.load("models", name).dataset == protocol.samples.dataset
    ]
    return [model for word in _words("--models", names) for model in (fitting if word == "hub:all" else [word])]


def _show_plan(
    runs: Sequence[SweepRun], failures: Sequence[Failure], execution: Execution, workers: int, as_json: bool
) -> None:
    from bench.sweeps.costs import Costs
    from bench.sweeps.sweep import units

    costs = Costs(execution.store.runs())
    left = [(run, todo) for run in runs if (todo := units(run, execution))]
    each: list[dict[str, Any]] = [
        {"id": unit.id, "run_id": unit.run_id, "unit": unit.name, "images": unit.images}
        | {"seconds": costs.estimate(run.plan.spec, unit.images)}
        for run, todo in left
        for unit in todo
    ]
    known = [unit["seconds"] for unit in each if unit["seconds"] is not None]
    if as_json:
        cannot = [failure._asdict() for failure in failures]
        costs_of = {"seconds": sum(known), "unknown": len(each) - len(known)}
        click.echo(json.dumps({"units": each, "failures": cannot} | costs_of))
        return
    table = Table("model", "attack", "images", "units", "estimated", title=f"{len(left)} of {len(runs)} runs to do")
    for run, todo in left:
        images = sum(unit.images for unit in todo)
        seconds = costs.estimate(run.plan.spec, images)
        spec = run.plan.spec
        table.add_row(spec.model.name, spec.attack.name, str(images), str(len(todo)), duration(seconds))
    console.out.print(table)
    words = [f"{len(each)} units"]
    if known:
        words.append(f"{duration(sum(known))} of computing by earlier records")
    if known and workers > 1:
        words.append(f"about {duration(sum(known) / workers)} with {workers} workers")
    if len(known) < len(each):
        words.append(f"no record tells what {len(each) - len(known)} of them cost")
    console.out.print(", ".join(words), soft_wrap=True)
    _show_failures(failures)


def _show_outcome(outcome: Outcome, wanted: int) -> None:
    table = Table("model", "attack", "primary metric", "mean", "infeasible", "flags")
    for run in outcome.finished:
        record = run.record
        mean = record.summaries["correct"][record.spec.primary_metric].mean
        table.add_row(
            printable(record.spec.model.name),
            record.spec.attack.name,
            record.spec.primary_metric,
            "undefined" if mean is None else f"{mean:.3f}",
            str(record.infeasible),
            ", ".join(flag.name for flag in record.flags),
        )
    console.out.print(table)
    _show_failures(outcome.failures)
    console.out.print(f"{len(outcome.finished)} of {wanted} runs are filed")


def _show_failures(failures: Sequence[Failure]) -> None:
    for what, why in failures:
        console.show_error(f"{what}: {why}")


def _show_status(sweep: SweepStatus) -> None:
    done, images = sweep.images
    table = Table("model", "attack", "images", "at work", "", title=f"sweep {sweep.name}", title_justify="left")
    for run in sweep.runs:
        state = "filed" if run.filed else "finished" if run.done == run.images else ""
        at_work = str(run.working) if run.working else ""
        spec = run.spec
        table.add_row(spec.model.name, spec.attack.name, f"{run.done} of {run.images}", at_work, state)
    console.out.print(table)
    for what, why in sweep.failures:
        console.out.print(f"failed: {printable(what)}: {printable(why)}", soft_wrap=True)
    if done == images:
        words = "complete"
    elif not sweep.working:
        words = "nobody is at work: the same command continues"
    else:
        left = "" if sweep.seconds_left is None else f", about {duration(sweep.seconds_left)} left"
        words = f"{sweep.working} at work{left}"
    console.out.print(f"{done} of {images} images; {words}")


def _as_json(sweep: SweepStatus) -> dict[str, Any]:
    runs = [
        {"run_id": run.spec.run_id, "model": run.spec.model.name, "attack": run.spec.attack.name}
        | {"images": run.images, "done": run.done, "filed": run.filed, "working": run.working}
        for run in sweep.runs
    ]
    failures = [{"what": what, "why": why} for what, why in sweep.failures]
    return {"sweep": sweep.name, "seconds_left": sweep.seconds_left, "runs": runs, "failures": failures}
