"""The page of one command's runs.

Pictures, numbers and flags are in a single HTML file. A second file is a strip as an image.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.core.storage.files import write_atomic
from bench.core.storage.stored_run import StoredRun
from leaderboard.drawing.strips import Strip, showcase_tiles, sprite_name, strips
from leaderboard.drawing.tiles import layout, sprite, strip_image
from leaderboard.pages.render import FOLDER, render
from leaderboard.pages.verdict import in_words
from leaderboard.records.rows import read_rows

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Content policy of a page that is one file: it loads nothing and runs no script."""


class Pictured(NamedTuple):
    """A run with its strips."""

    run: StoredRun
    strips: list[Strip]
    protocol: str
    """What `bench run --protocol` takes: a name, or the file that the results keep."""


class Embedded(NamedTuple):
    """All pictures of a run, as part of the page."""

    file: str
    source: str
    size: tuple[int, int]


class RunPage(NamedTuple):
    """Paths of a page and of its strip image.

    The strip shows the most damaged image. It is None if the run kept no pictures.
    """

    page: Path
    strip: Path | None


def write_run_page(
    runs: Sequence[StoredRun], folder: Path, again: str | None = None, *, model: str | None = None
) -> RunPage:
    """Write the page of finished runs of one model under one protocol.

    Args:
        runs: the runs in the order in which `bench run` finishes them, the floor first.
        folder: the folder for `<protocol>-<model>-<run>.html` and `.png`, named after the last run.
        again: the command that makes these runs; by default each run has the command that its record tells.
        model: what `bench run --model` takes; by default the record's reference, which names no folder.
    Raises:
        IntegrityError: if rows or pictures are damaged.
    """
    shown: list[Pictured] = []
    pictures: list[Embedded] = []
    image = None
    for run in runs:
        tiles = showcase_tiles(run)
        drawn = strips(run, read_rows, tiles)
        shown.append(Pictured(run, drawn, _protocol(run)))
        if tiles is not None:
            source = f"data:image/webp;base64,{base64.b64encode(sprite(tiles, 'WEBP')).decode()}"
            pictures.append(Embedded(sprite_name(run), source, layout(tiles).size))
            image = strip_image(tiles, run.record.showcase.index(drawn[0].sample_id))
    record = runs[-1].record
    stem = folder / f"{record.spec.protocol.key}-{record.spec.model.name}-{record.run_id[:12]}"
    style = (FOLDER / "static" / "style.css").read_text()
    floor = next((run for run in runs if run.record.spec.attack.name == record.spec.protocol.floor), None)
    page = render(
        "run.html",
        root="",
        policy_of_page=POLICY,
        style=style,
        record=record,
        model=model,
        shown=shown,
        floor=floor,
        pictures=pictures,
        words=in_words(runs),
        again=again,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path := stem.with_name(f"{stem.name}.html"), page.encode())
    if image is None:
        return RunPage(path, None)
    write_atomic(picture := stem.with_name(f"{stem.name}.png"), image)
    return RunPage(path, picture)


def _protocol(run: StoredRun) -> str:
    """Return what `bench run --protocol` takes.

    It is the name of a registered protocol, or else the path of its copy among the results.
    """
    kept = run.protocol_path
    return str(kept) if kept.is_file() else run.record.spec.protocol.key
