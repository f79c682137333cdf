"""What the page that compares any two to four models loads: per model, its values image by image, and its pictures.

Scripts rather than JSON, as a browser lets a page that was opened from disk load nothing else from beside it.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from bench.core.storage.files import canonical_json
from bench.core.storage.store import StoredRun
from leaderboard.boards.board import Board, ranking_rows
from leaderboard.drawing.strips import Strip, class_name
from leaderboard.records.image_sets import ReadRows
from leaderboard.records.statistics import student_quantiles

DIGITS = 5
"""Decimals of the values and of the quantiles: what the page shows has three."""


def samples_script(board: Board, read_rows: ReadRows) -> str:
    """Return the script that names a board's images, as the widest run of a compared model lists them.

    It also holds what no browser has: Student's quantiles, one for each number of images that models may share.
    """
    runs = [s.headline_run for s in board.compared if s.headline_run is not None]
    widest = max(runs, key=lambda run: (run.record.spec.samples.count, run.record.run_id))
    rows = read_rows(widest)
    classes = [class_name(widest.record, int(label)) for label in rows["label"]]
    quantiles = [round(quantile, DIGITS) for quantile in student_quantiles(len(rows)).tolist()]
    return _call("samples", board, {"ids": list(rows["sample_id"]), "classes": classes, "quantiles": quantiles})


def model_script(board: Board, run: StoredRun, rows: pd.DataFrame, drawn: list[Strip]) -> str:
    """Return the script that holds a model's values on the images that rank, and its showcase under the same attack."""
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
    """Return a script that hands data over; line ends that JSON allows and scripts once did not are escaped."""
    text = canonical_json(content).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return f'benchCompare("{what}","{board.protocol.key}",{text});\n'
