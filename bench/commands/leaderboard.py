"""`bench leaderboard`: make pages and tables from records."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import click

from bench import registry
from bench.commands._places import REMOTE, folders
from bench.core.errors import UsageError
from bench.core.schemas.records import RunRecord


@click.group()
def leaderboard() -> None:
    """Make pages and tables from records."""


@leaderboard.command()
@click.argument("places", nargs=-1, metavar="[RESULTS]... [OUT]")
@click.option("--url", metavar="HTTPS://…/", help="Address of the published site, for the links in its feed.")
def build(places: tuple[str, ...], url: str | None) -> None:
    """Write the static site for the records in RESULTS to OUT.

    RESULTS is one or more folders or addresses hf://datasets/ORG/REPO[@COMMIT][/FOLDER] (default: results). With two or
    more words, the last one is OUT (default: site).
    """
    from leaderboard.boards.attack_results import Definition
    from leaderboard.build import build as make

    sources, out = (places[:-1], places[-1]) if len(places) > 1 else (places or ("results",), "site")
    if out.startswith(REMOTE):
        raise UsageError(f"expected a folder for the site as the last word, got {out}; add one")
    definitions = {name: Definition(*registry.definition("attacks", name)) for name in registry.names("attacks")}
    report = make(folders(sources), Path(out), url, definitions)
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
@click.option("--first", type=click.IntRange(min=1), metavar="N", help="Only the first N models; default: all.")
@click.option(
    "--beside", metavar="NAME", help="Show ranks beside those of this protocol, which differs in its attacks only."
)
def table(
    results: Path,
    protocol: str | None,
    metrics: tuple[str, ...],
    attacks: tuple[str, ...],
    brief: bool,
    first: int | None,
    beside: str | None,
) -> None:
    """Print the boards of RESULTS as Markdown tables."""
    from leaderboard.data.markdown import beside_table, tables

    if beside is not None:
        if protocol is None or metrics or attacks or brief or first is not None:
            raise UsageError("expected --protocol and no other option with --beside; give it alone")
        click.echo(beside_table(results, protocol, beside), nl=False)
        return
    click.echo(tables(results, protocol, metrics=metrics, attacks=attacks, brief=brief, first=first), nl=False)


@leaderboard.command()
def trainings() -> None:
    """Print what the trainings of this project cost and reached.

    The Markdown table has one line per registered model with a recipe.
    """
    from leaderboard.data.markdown import trainings_table

    entries = [registry.load("models", name) for name in registry.names("models")]
    ours = [entry for entry in entries if entry.training.recipe is not None and entry.training.epochs]
    recipes = {name: registry.load("recipes", name) for name in registry.names("recipes")}
    click.echo(trainings_table(ours, recipes))


@leaderboard.command()
@click.argument("results", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path("results"))
@click.option("--ranked", is_flag=True, help="Keep only pictures of complete runs under the newest ranked protocols.")
@click.option(
    "--attack", "attacks", multiple=True, metavar="NAME", help="Keep only pictures of this attack; repeatable."
)
@click.option(
    "--drop",
    multiple=True,
    metavar="PROTOCOL/MODEL",
    help="Drop the pictures of a model under a protocol; * stands for any letters; repeatable.",
)
@click.option(
    "--rows",
    multiple=True,
    metavar="PROTOCOL/MODEL",
    help="Write the rows of older records in a smaller encoding, with the same values; repeatable.",
)
def pack(results: Path, ranked: bool, attacks: tuple[str, ...], drop: tuple[str, ...], rows: tuple[str, ...]) -> None:
    """Pack the pictures in RESULTS into lossless sheets.

    A sheet holds the pictures of one model under one protocol. Pages show the same pictures. Without --rows, records
    and rows do not change.
    """
    from bench.core.storage.store import Store

    store = Store(results)
    newest = store.newest_versions() if ranked else {}

    def kept(record: RunRecord) -> bool:
        protocol = record.spec.protocol
        if attacks and record.spec.attack.name not in attacks:
            return False
        if _named(record, drop):
            return False
        whole = record.spec.on_protocol and record.samples == record.spec.samples.of
        return not ranked or (protocol.rankable and whole and protocol.version == newest[protocol.name])

    before = _bytes(results)
    folders = sum(1 for _ in store.pack(kept))
    shrunk = sum(1 for _ in store.shrink_rows(lambda record: _named(record, rows))) if rows else 0
    click.echo(
        f"packed the pictures of {folders} folders and the rows of {shrunk} runs: {before / 1e6:.1f} MB before, "
        f"{_bytes(results) / 1e6:.1f} MB now"
    )


def _named(record: RunRecord, patterns: tuple[str, ...]) -> bool:
    """Say whether one of the patterns PROTOCOL/MODEL names a run."""
    name = f"{record.spec.protocol.key}/{record.spec.model.name}"
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
