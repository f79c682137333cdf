"""`bench protocol`: make a protocol of images of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import registry
from bench.commands._images import remark
from bench.core.errors import UsageError
from bench.terminal import console

if TYPE_CHECKING:
    from bench.core.schemas.protocol import Protocol


@click.group()
def protocol() -> None:
    """Make a protocol of images of your own."""


@protocol.command()
@click.option(
    "--images",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="A folder with one folder per class, or a CSV table with the columns file and label.",
)
@click.option("--like", metavar="NAME", help="Protocol that everything but the images is taken from.")
@click.option(
    "--model",
    metavar="hub:NAME",
    help="A model as for bench run; its classes and preprocessing count (default: those of --like).",
)
@click.option("--size", metavar="SIZE", help="224, 28x28 (height x width) or 256:224 (resized, then cut).")
@click.option(
    "--count", type=click.IntRange(min=1), metavar="N", help="Draw N images, equally many per class (default: all)."
)
@click.option("--name", metavar="NAME", help="Name of the protocol (default: that of the folder and a checksum).")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), show_default="here", help="Folder for the file."
)
def init(
    images: Path, like: str | None, model: str | None, size: str | None, count: int | None, name: str | None, out: Path
) -> None:
    """Write a protocol that pins image files by their checksums.

    Runs, records, pages and `bench verify` work under it as under the protocols of this package. It never ranks. Give
    the file to `--protocol`; where the images lie elsewhere, add `--images FOLDER`.
    """
    from bench.images.network import network_like, network_of
    from bench.images.protocol import Wanted, likeness, protocol_of, write
    from model_zoo.hub import full, resolve

    rules: Protocol = registry.load("protocols", like or likeness())
    network = network_like(rules, size) if model is None else network_of(resolve(full(model)).entry, size)
    every = count if count is not None else 10**9
    made = protocol_of(Wanted(place=images, like=rules, network=network, count=every, name=name), remark)
    if (there := out / f"{made.key}.toml").exists() and registry.load("protocols", str(there)) != made:
        raise UsageError(f"expected no other protocol in {there}, got one; choose another --name, or remove it")
    path = write(made, out)
    console.show_text(f"protocol: {path}, {len(made.samples.indices)} images, sha256 {made.sha256[:12]}…")
    console.show_text(f"next: bench run --model {model or 'MODEL'} --protocol {path}")
