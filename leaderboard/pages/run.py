"""One page for the runs of one command: pictures, numbers and flags in a single file, and a strip as an image."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.core.storage.files import write_atomic
from bench.core.storage.store import StoredRun
from leaderboard.drawing.strips import Strip, showcase_tiles, sprite_name, strips
from leaderboard.drawing.tiles import sprite, strip_image
from leaderboard.pages.render import FOLDER, render
from leaderboard.records.rows import read_rows

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""The page is one file that can be mailed: it loads nothing and runs nothing."""


class Pictured(NamedTuple):
    """A run with its strips."""

    run: StoredRun
    strips: list[Strip]


class RunPage(NamedTuple):
    """Where a page was written, and the strip of its most damaged image; None where no picture was kept."""

    page: Path
    strip: Path | None


def write_run_page(runs: Sequence[StoredRun], folder: Path) -> RunPage:
    """Write the page of finished runs of one model under one protocol.

    Args:
        runs: the floor first, as `bench run` finishes them.
        folder: for `<protocol>-<model>-<run>.html` and `.png`; the run is the last one.
    Raises:
        IntegrityError: if rows or pictures are damaged.
    """
    shown, sources, image = [], {}, None
    for run in runs:
        tiles = showcase_tiles(run)
        drawn = strips(run, read_rows, tiles)
        shown.append(Pictured(run, drawn))
        if tiles is not None:
            sources[sprite_name(run)] = f"data:image/png;base64,{base64.b64encode(sprite(tiles)).decode()}"
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
        shown=shown,
        floor=floor,
        sources=sources,
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path := stem.with_name(f"{stem.name}.html"), page.encode())
    if image is None:
        return RunPage(path, None)
    write_atomic(picture := stem.with_name(f"{stem.name}.png"), image)
    return RunPage(path, picture)
