"""`bench submit attack`: judge perturbed images from anybody."""

from __future__ import annotations

import json
from pathlib import Path

import click

from bench import registry
from bench.commands._options import DATA, DEVICE, JSON, RESULTS
from bench.core.storage.folders import cache_folder
from bench.terminal import console
from bench.terminal.progress import RunProgress


@click.command()
@click.argument("images", type=click.Path(path_type=Path), metavar="FILE.npz")
@click.option("--model", required=True, metavar="hub:NAME", help="The attacked model, as for `bench run`.")
@click.option("--protocol", required=True, metavar="NAME", help="One of `bench list protocols`.")
@click.option("--name", required=True, metavar="NAME", help="Name of the attack; the record says external:NAME.")
@RESULTS
@DATA
@DEVICE
@JSON
def attack(images: Path, model: str, protocol: str, name: str, results: Path, device: str, as_json: bool) -> None:
    """Judge perturbed images and file them as an attack external:NAME.

    FILE.npz holds `images`, (n, C, H, W) floats in [0, 1], and `ids`, n sample ids of the protocol, any number of them.
    No code in it runs. Ball and class are judged as for every attack. The record has no rank, but it counts in `bench
    ledger` and in the boards' column of best known values.
    """
    from bench.commands.run import show_runs
    from bench.core.storage.store import Store
    from bench.run.execution import Execution
    from bench.submission.external import judge_submission
    from model_zoo.hub import full

    execution = Execution(Store(results), cache_folder() / "work", device)
    with RunProgress() as progress:
        filed = judge_submission(
            images, model=full(model), protocol=protocol, name=name, execution=execution, observer=progress
        )
    record = filed.run.record
    if as_json:
        click.echo(json.dumps(record.model_dump(mode="json")))
        return
    show_runs([filed.run], registry.load("protocols", protocol))
    if filed.known:
        console.show_text("The same images were judged before; the record is unchanged.")
    console.show_text(f"images: {filed.kept}")
    console.show_text(f"bench ledger {results} --protocol {record.spec.protocol.key} --model {record.spec.model.name}")
