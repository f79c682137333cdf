"""Data for the page on which readers compare two to four models.

Each model has a file with its values image by image, and its pictures. The files are scripts rather than JSON, as a
page that is opened from disk can load scripts but not JSON.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from bench.core.storage.files import canonical_json
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.board import Board, ranking_rows
from leaderboard.drawing.strips import Strip, class_name
from leaderboard.records.image_sets import ReadRows
from leaderboard.records.statistics import student_quantiles

DIGITS = 5
"""Decimals of the values and of the quantiles. The page shows three."""


def samples_script(board: Board, read_rows: ReadRows) -> str:
    """Return the script that lists a board's images and their classes.

    The compared run with the most samples gives the images. The script also holds Student's quantiles, which browsers
    cannot compute, one for each number of images that models can share.
    """
    runs = [s.headline_run for s in board.compared if s.headline_run is not None]
    widest = max(runs, key=lambda run: (run.record.spec.samples.count, run.record.run_id))
    rows = read_rows(widest)
    classes = [class_name(widest.record, int(label)) for label in rows["label"]]
    quantiles = [round(quantile, DIGITS) for quantile in student_quantiles(len(rows)).tolist()]
    return _call("samples", board, {"ids": list(rows["sample_id"]), "classes": classes, "quantiles": quantiles})


def model_script(board: Board, run: StoredRun, rows: pd.DataFrame, drawn: list[Strip]) -> str:
    """Return the script with a model's values and its showcase.

    The values are on the images that rank; values and showcase are under the attack that scores.
    """
    ranking = ranking_rows(board, rows)
    values = zip(ranking["sample_id"], ranking[board.spec.primary_metric].tolist(), strict=True)
    shown = [
        {
            "id": strip.sample_id,
            "tiles": [[t.picture, t.title, t.caption, t.alt, *t.box] for t in strip.tiles],
            "file": strip.tiles[0].file,
            "size": strip.tiles[0].size,
        }
        for strip in drawn
    ]
    content = {
        "model": run.record.entry.name,
        "attack": run.record.spec.attack.name,
        "values": {sample: round(value, DIGITS) for sample, value in values if not math.isnan(value)},
        "strips": shown,
    }
    return _call("model", board, content)


def _call(what: str, board: Board, content: dict[str, Any]) -> str:
    """Return a script that passes data to the page's function.

    It escapes the two line ends that JSON allows but older scripts do not.
    """
    text = canonical_json(content).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'benchCompare("{what}","{board.protocol.key}",{text});\n'
