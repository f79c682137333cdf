"""`bench speed`: measure the time of attacks on this machine.

The table compares it with the time that the network's convolutions alone need.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, get_args

import click
from rich.table import Table

from bench.commands._options import COMPILED, DEVICE, JSON
from bench.core.schemas.duration import in_words
from bench.core.schemas.protocol import SearchPrecision
from bench.terminal import console

if TYPE_CHECKING:
    from bench.checks.speed import Speed
    from bench.checks.stopwatch import Stopwatch

PROTOCOLS = ("cifar10-gradient-v1", "cifar10-linf8-v2")
"""The two types of search: with one gradient per image, and with integrated gradients."""


@click.command()
@click.option(
    "--model", "models", multiple=True, metavar="hub:NAME",
    help="Repeatable; recipe:NAME stands for the network of a recipe, untrained:timm:NAME for one of timm, both with "
    "random weights. Default: a model that fits the protocol, such as hub:art-wrn28.",
)  # fmt: skip
@click.option(
    "--train",
    "recipes",
    multiple=True,
    metavar="RECIPE",
    help="Time the training of a recipe instead of attacks; repeatable.",
)
@click.option("--protocol", "protocols", multiple=True, default=PROTOCOLS, show_default=True, metavar="NAME")
@click.option("--attack", "attacks", multiple=True, default=("ifia-topk",), show_default=True, metavar="NAME")
@click.option("--batch-size", type=click.IntRange(min=1), default=16, show_default=True, help="Images at once.")
@click.option("--precision", type=click.Choice(get_args(SearchPrecision)), help="Precision of the search on a GPU.")
@click.option(
    "--repeats",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of measurements; the shortest time counts.",
)
@click.option(
    "--processor-time", is_flag=True, help="Count only the processor time of this process, for a shared machine."
)
@COMPILED
@DEVICE
@JSON
def speed(
    models: tuple[str, ...],
    recipes: tuple[str, ...],
    protocols: tuple[str, ...],
    attacks: tuple[str, ...],
    batch_size: int,
    precision: SearchPrecision | None,
    compiled: bool,
    repeats: int,
    processor_time: bool,
    device: str,
    as_json: bool,
) -> None:
    """Time attacks and their judging, or trainings, on this machine.

    A step is one gradient and one forward pass of the real network. The floor is the time of 6 forward passes per node
    and step at the speed of the network's convolutions alone, which this command measures. Judging is all work after an
    attack, except for the clean images, which are judged once for all attacks on a model. Map metrics are the part of
    judging that compares heatmaps. The second derivative is one Hessian-vector product.
    """
    from bench.checks.speed import measure
    from bench.checks.stopwatch import Stopwatch
    from bench.checks.timed_models import usual_model
    from bench.core.compute.machine import hardware, pick_device

    watch = Stopwatch(pick_device(device), repeats, processor_time)
    if recipes:
        _speed_of_trainings(recipes, watch, as_json=as_json)
        return
    found = [
        measure(model, protocol, attack, batch_size=batch_size, watch=watch, precision=precision, compiled=compiled)
        for protocol in protocols
        for model in (models or (usual_model(protocol),))
        for attack in attacks
    ]
    if as_json:
        derived = ("images_per_second", "floor_seconds", "floor_share")
        rows = [asdict(row) | {name: getattr(row, name) for name in derived} for row in found]
        click.echo(json.dumps({"hardware": hardware(), "speeds": rows}))
    else:
        _show(hardware(), found)


def _speed_of_trainings(recipes: tuple[str, ...], watch: Stopwatch, *, as_json: bool) -> None:
    from bench.checks.training_speed import measure_training
    from bench.core.compute.machine import hardware

    found = [measure_training(recipe, watch) for recipe in recipes]
    if as_json:
        rows = [asdict(row) | {"epoch_seconds": row.epoch_seconds} for row in found]
        click.echo(json.dumps({"hardware": hardware(), "trainings": rows}))
        return
    columns = ("recipe", "objective", "batch", "precision", "images/s", "50,000 images", "share of convolutions")
    table = Table(*columns, title=hardware(), title_justify="left")
    for row in found:
        cost = (f"{row.images_per_second:.3g}", in_words(row.epoch_seconds), f"{row.convolution_share:.0%}")
        table.add_row(row.recipe, row.objective, str(row.batch_size), row.precision, *cost)
    console.out.print(table)


def _show(machine: str, found: list[Speed]) -> None:
    compiled = ", compiled" if found[0].compiled else ""
    table = Table(
        "",
        title=f"{machine}; {found[0].batch_size} images at once, search in {found[0].precision}{compiled}",
        title_justify="left",
    )
    for row in found:
        table.add_column(f"{row.model}\n{row.protocol}\n{row.attack}", justify="right")
    lines: dict[str, Callable[[Speed], str]] = {
        "nodes per heatmap": lambda row: str(row.nodes),
        "steps": lambda row: str(row.steps),
        "step, ms per image": lambda row: f"{1000 * row.step_seconds:.2f}",
        "whole attack, images/s": lambda row: f"{row.images_per_second:.3g}",
        "convolutions, GFLOP/s": lambda row: f"{row.convolution_flop_per_second / 1e9:.1f}",
        "step at that floor, ms": lambda row: f"{1000 * row.floor_seconds:.2f}",
        "share of the floor": lambda row: f"{row.floor_share:.0%}",
        "second derivative, ms per node": lambda row: f"{1000 * row.product_seconds:.2f}",
        "by plain double backward, ms": lambda row: f"{1000 * row.plain_seconds:.2f}",
        "judging clean images, of the attack": lambda row: f"{row.clean_seconds / row.attack_seconds:.1%}",
        "judging, of the attack": lambda row: f"{row.judge_seconds / row.attack_seconds:.1%}",
        "map metrics, of the attack": lambda row: f"{row.map_metrics_seconds / row.attack_seconds:.2%}",
        "peak memory, MB": lambda row: f"{row.peak_bytes / 1e6:.0f}",
    }
    for title, text in lines.items():
        table.add_row(title, *map(text, found))
    console.out.print(table)
