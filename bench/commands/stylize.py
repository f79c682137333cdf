"""`bench stylize`: make stylised copies of a protocol's images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench import registry
from bench.commands._options import DATA, PROTOCOL
from bench.core.storage.folders import data_folder
from bench.terminal import console
from bench.terminal.progress import RunProgress

if TYPE_CHECKING:
    from bench.core.schemas.protocol import Protocol


@click.command()
@PROTOCOL
@click.option(
    "--styles",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="FOLDER",
    help="Pictures whose styles are taken, such as paintings.",
)
@click.option(
    "--name", default="stylized", show_default=True, metavar="NAME", help="Folder for the copies in the data folder."
)
@click.option(
    "--strength",
    type=click.FloatRange(0, 1),
    default=1.0,
    show_default=True,
    help="1: the style of the picture; 0: the image's own, which still alters it.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Copy the first N images only.")
@DATA
def stylize(protocol: str, styles: Path, name: str, strength: float, limit: int | None) -> None:
    """Copy a protocol's images in the styles of other pictures.

    Each image gets the style that its id draws. The attack `stylized` shows the copies to a network. Needs the extra
    [stylize].
    """
    from bench.images.stylize import engine, read_styles, stylise

    rules: Protocol = registry.load("protocols", protocol)
    pictures, network = read_styles(styles), engine(strength)
    count = min(limit or len(rules.samples.indices), len(rules.samples.indices))
    with RunProgress(command=False) as progress:
        progress.start(f"{rules.key} in {len(pictures)} styles", count, 0)
        digest = stylise(rules, pictures, network, data_folder() / name, limit=limit, tick=progress.advance)
    console.show_text(f"{data_folder() / name}: {count} images, SHA256SUMS {digest[:12]}…")
    few = "" if limit is None else f" --limit {count}"
    console.show_text(
        f"next: bench run --model MODEL --attack stylized --set folder={name} --set sha256={digest} "
        f"--protocol {protocol} --epsilon 1{few}"
    )
