"""`bench run`: attacks on one model under a protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import click

from bench import registry
from bench.commands._options import COMPILED, DATA, DEVICE, JSON, PROTOCOL, RESULTS, read_parameters
from bench.core.schemas.protocol import SearchPrecision
from bench.core.storage.folders import cache_folder
from bench.terminal import console


@click.command()
@click.option(
    "--model",
    required=True,
    metavar="hub:NAME",
    help="A registered model, hub:ORG/REPO[@COMMIT], file:ENTRY.toml, or ZOO:NAME, which another library loads "
    "(bench list zoos).",
)
@click.option("--attack", "attacks", multiple=True, metavar="NAME", help="Repeatable; default: all of the protocol's.")
@PROTOCOL
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
@click.option("--memory", metavar="SIZE", help="What derivatives may take, such as 2GB; default: most of what is free.")
@COMPILED
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
    compiled: bool,
    results: Path,
    device: str,
    as_json: bool,
) -> None:
    """Attack a model's explanations under a protocol, and record what is left of them.

    The protocol's floor (random noise) runs first, so that the attack has something to be compared with. An interrupted
    run continues when the same command is given again.
    """
    from bench.core.storage.store import Store
    from bench.run.attack.memory import parse
    from bench.run.execution import Execution
    from bench.run.plan import Request, plan
    from bench.run.steps import run_all

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
    execution = Execution(Store(results), cache_folder() / "work", device, batch_size, memory=budget, compiled=compiled)
    with console.RunProgress() as progress:
        finished = run_all(plans, execution, progress)
    if as_json:
        click.echo(json.dumps([run.record.model_dump(mode="json") for run in finished]))
    else:
        console.show_runs(finished, rules)
