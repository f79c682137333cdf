"""The `bench` command. Nothing here imports torch before a verb needs it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from bench import registry, terminal
from bench.commands.audit import audit
from bench.commands.cite import cite
from bench.commands.compare import compare
from bench.commands.confirm import confirm
from bench.commands.contest import contest
from bench.commands.export import export
from bench.commands.speed import speed
from bench.commands.submit import submit
from bench.commands.sweep import status, sweep
from bench.commands.validate import validate
from bench.core.errors import BenchError, EnvironmentFault, UsageError
from bench.core.folders import cache_folder
from bench.core.protocol import SearchPrecision

if TYPE_CHECKING:
    from bench.core.store import StoredRun

INTERRUPTED = 130
KINDS = get_args(registry.Kind)
DEFAULT_PROTOCOL = "cifar10-smoke-v1"
RESULTS = click.option(
    "--results", type=click.Path(path_type=Path), default=Path("results"), show_default=True, help="Folder of records."
)
DATA = click.option("--data", type=click.Path(path_type=Path), help="Folder of public image sets (or BENCH_DATA).")
MEMORY = click.option(
    "--memory", metavar="SIZE", help="What derivatives may take, such as 2GB; default: most of what is free."
)
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, …")
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, and nothing else there."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "BENCH"})
@click.version_option(package_name="attribution-bench")
def bench() -> None:
    """Measure whether a classifier's explanation survives a change of the image that nobody can see.

    Exit codes: 0 done; 1 ran, but something failed; 2 usage; 3 integrity (hash, checksum); 4 network; 5 environment
    (data, device, disk); 130 interrupted.
    """


@bench.command()
@click.option(
    "--model",
    required=True,
    metavar="hub:NAME",
    help="A registered model, hub:ORG/REPO[@COMMIT], file:ENTRY.toml, or ZOO:NAME, which another library loads "
    "(bench list zoos).",
)
@click.option("--attack", "attacks", multiple=True, metavar="NAME", help="Repeatable; default: all of the protocol's.")
@click.option("--protocol", default=DEFAULT_PROTOCOL, show_default=True, metavar="NAME")
@click.option("--limit", type=int, metavar="N", help="Only the protocol's first N samples; the run is not ranked.")
@click.option("--set", "params", multiple=True, metavar="KEY=VALUE", help="An attack parameter; the run is not ranked.")
@click.option("--epsilon", metavar="A/B", help="Another radius than the protocol's; the run is not ranked.")
@click.option("--beta", type=float, help="Another sharpness of the surrogate; the run is not ranked.")
@click.option("--nodes", type=int, help="Other quadrature nodes of the search; the run is not ranked.")
@click.option(
    "--precision",
    type=click.Choice(get_args(SearchPrecision)),
    help="Other arithmetic of the search on a GPU; the run is not ranked.",
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Images attacked at once; cannot change a number.")
@MEMORY
@RESULTS
@DATA
@DEVICE
@JSON
def run(
    model: str,
    attacks: tuple[str, ...],
    protocol: str,
    limit: int | None,
    params: tuple[str, ...],
    epsilon: str | None,
    beta: float | None,
    nodes: int | None,
    precision: str | None,
    batch_size: int | None,
    memory: str | None,
    results: Path,
    data: Path | None,
    device: str,
    as_json: bool,
) -> None:
    """Attack a model's explanations under a protocol, and record what is left of them.

    The protocol's floor (random noise) runs first, so that the attack has something to be compared with. An interrupted
    run continues when the same command is given again.
    """
    _use_data(data)
    from bench.core.store import Store
    from bench.memory import parse
    from bench.plan import Request, plan
    from bench.run import run as complete
    from bench.sitting import Execution, Workbench

    rules = registry.load("protocols", protocol)
    chosen = list(dict.fromkeys([rules.floor, *(attacks or [component.name for component in rules.attacks])]))
    overrides = read_parameters(params)
    requests = [
        Request(
            model=model,
            attack=attack,
            protocol=protocol,
            limit=limit,
            params=overrides if attack != rules.floor or chosen == [rules.floor] else {},
            epsilon=epsilon,
            beta=beta,
            nodes=nodes,
            precision=precision,
        )
        for attack in chosen
    ]
    plans = [plan(request) for request in requests]
    budget = None if memory is None else parse(memory)
    execution = Execution(Store(results), cache_folder() / "work", device, batch_size, memory=budget)
    finished: list[StoredRun] = []
    workbench = Workbench()
    with terminal.RunProgress() as progress:
        for planned in plans:
            floor = finished[0] if finished else None
            finished.append(complete(planned, execution, progress, floor, workbench))
    if as_json:
        click.echo(json.dumps([run.record.model_dump(mode="json") for run in finished]))
    else:
        terminal.show_runs(finished, rules)


@bench.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
@JSON
def list_(kind: registry.Kind | None, as_json: bool) -> None:
    """List plug-ins: models, attacks, metrics, attributions, protocols and more."""
    kinds = [kind] if kind else list(KINDS)
    found = {k: [{"name": n, "summary": registry.summary(k, n)} for n in registry.names(k)] for k in kinds}
    for row in found.get("models", []):
        row.update(terminal.accuracies(registry.load("models", row["name"])))
    if as_json:
        click.echo(json.dumps(found))
    else:
        terminal.show_lists(found)


@bench.command()
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), help="Needed if several kinds have the name.")
@JSON
def show(name: str, kind: registry.Kind | None, as_json: bool) -> None:
    """Show one model, protocol, recipe, attack, metric, …: its values, its parameters, its source."""
    name = name.removeprefix("hub:")
    kinds = [kind] if kind else [k for k in KINDS if name in registry.names(k)]
    if not kinds:
        from bench.core.errors import UnknownNameError

        raise UnknownNameError("plug-ins", name, {n for k in KINDS for n in registry.names(k)})
    if len(kinds) > 1:
        raise UsageError(f"expected a name of one kind, got {name!r} of {', '.join(kinds)}; add --kind")
    content = registry.describe(kinds[0], name)
    if as_json:
        click.echo(json.dumps(content))
    else:
        terminal.show_plugin(kinds[0], name, content)


@bench.command()
@click.argument("subjects", nargs=-1, metavar="[MODEL | RESULTS_FOLDER]...")
@click.option("--all", "every", is_flag=True, help="Every registered model.")
@DATA
@DEVICE
@JSON
def verify(subjects: tuple[str, ...], every: bool, data: Path | None, device: str, as_json: bool) -> None:
    """Check models (hash, size, clean accuracy measured again) or a folder of records (hashes, recomputed means)."""
    _use_data(data)
    from bench.core.machine import pick_device
    from bench.verify import verify_model, verify_results

    models = [f"hub:{name}" for name in registry.names("models")] if every else []
    if not subjects and not models:
        raise UsageError("expected models or a results folder to verify, got nothing; name one, or add --all")
    found = []
    for subject in [*models, *subjects]:
        if Path(subject).is_dir():
            found.extend(verify_results(Path(subject)))
        else:
            found.extend(verify_model(subject, device=pick_device(device)))
    if as_json:
        click.echo(json.dumps([check._asdict() for check in found]))
    else:
        terminal.show_checks(found)
    if codes := [check.exit_code for check in found if not check.ok]:
        sys.exit(max(codes))


@bench.command()
@click.argument("recipe", metavar="RECIPE")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of checkpoints and weights; default runs/RECIPE.")
@click.option("--resume", is_flag=True, help="Continue the checkpoint in the folder.")
@DATA
@DEVICE
def train(recipe: str, out: Path | None, resume: bool, data: Path | None, device: str) -> None:
    """Train a model by a recipe (a name, or a TOML file), measure it on the test set, and write its entry."""
    _use_data(data)
    from bench.training import train as complete

    loaded = registry.load("recipes", recipe)
    folder = out or Path("runs") / loaded.name
    with terminal.TrainingProgress(loaded.name) as progress:
        trained = complete(loaded, folder, resume=resume, device=device, progress=progress)
    terminal.show_trained(trained.entry, trained.path)


@bench.group()
def leaderboard() -> None:
    """Pages and tables from records."""


@leaderboard.command()
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.argument("out", type=click.Path(path_type=Path), default=Path("site"))
@click.option("--url", metavar="HTTPS://…/", help="Where the site will be published: for the links of its feed.")
def build(results: Path, out: Path, url: str | None) -> None:
    """Write the static site of the records in RESULTS to OUT."""
    from leaderboard.build import build as make

    definitions = {name: registry.definition("attacks", name) for name in registry.names("attacks")}
    report = make(results, out, url, definitions)
    click.echo(
        f"{report.files} files from {report.runs} runs of {report.models} models under {report.protocols} protocols; "
        f"open {report.out / 'index.html'}"
    )


@leaderboard.command()
@click.argument("results", type=click.Path(path_type=Path), default=Path("results"))
@click.option("--protocol", metavar="NAME", help="Only this protocol's.")
@click.option("--metric", "metrics", multiple=True, metavar="NAME", help="Repeatable; default: the board's.")
@click.option("--attack", "attacks", multiple=True, metavar="NAME", help="Repeatable; default: all.")
@click.option("--brief", is_flag=True, help="One column per attack: the means of the metrics, without intervals.")
def table(results: Path, protocol: str | None, metrics: tuple[str, ...], attacks: tuple[str, ...], brief: bool) -> None:
    """Print the boards of RESULTS as Markdown tables."""
    from leaderboard.markdown import tables

    click.echo(tables(results, protocol, metrics=metrics, attacks=attacks, brief=brief), nl=False)


@bench.command()
@DATA
@JSON
def doctor(data: Path | None, as_json: bool) -> None:
    """Say what this machine has, what is missing, and how to get it."""
    _use_data(data)
    from bench.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([finding._asdict() for finding in findings]))
    else:
        terminal.show_findings(findings)


bench.add_command(audit)
bench.add_command(cite)
bench.add_command(compare)
bench.add_command(contest)
bench.add_command(confirm)
bench.add_command(export)
bench.add_command(speed)
bench.add_command(validate)
bench.add_command(submit)
bench.add_command(sweep)
bench.add_command(status)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its code; errors are one sentence on stderr."""
    try:
        code = bench.main(arguments, prog_name="bench", standalone_mode=False)
    except BenchError as error:
        terminal.show_error(str(error))
        sys.exit(error.exit_code)
    except OSError as error:  # of a path in somebody's words: too long, no permission, a file where a folder must be
        about = "" if error.filename is None else f" with {os.fsdecode(error.filename)[:200]!r}"
        terminal.show_error(
            f"expected to work{about}, got: {error.strerror or error}; correct the path or its permissions"
        )
        sys.exit(EnvironmentFault.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        terminal.show_error("interrupted; finished shards are kept: the same command continues")
        sys.exit(INTERRUPTED)
    sys.exit(code if isinstance(code, int) else 0)


def _use_data(folder: Path | None) -> None:
    if folder is not None:
        os.environ["BENCH_DATA"] = str(folder)


def read_parameters(words: tuple[str, ...]) -> dict[str, Any]:
    """Read KEY=VALUE words; values are JSON where they can be, else text."""
    parameters: dict[str, Any] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or not key:
            raise UsageError(f"expected --set KEY=VALUE, got {word!r}")
        try:
            parameters[key] = json.loads(value)
        except json.JSONDecodeError:
            parameters[key] = value
    return parameters


if __name__ == "__main__":
    main()
