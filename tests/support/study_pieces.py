"""Files records of a made-up study with every kind of figure."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from bench.core.schemas.study import Card, Figure, Point, StudyRecord, StudySpec
from bench.core.storage.files import sha256_of
from bench.core.storage.studies import StudyStore, lossless


def figure(kind: str, name: str = "figure") -> Figure:
    return Figure(name=name, kind=kind, title=f"A {kind}", words="It shows.", x="share", y="accuracy")


KINDS = ("curve", "boxes", "scatter")
CARD = Card(
    study="made-up",
    version=1,
    title="Made <up>",
    asks="What?",
    source="nobody 2019",
    figures=tuple(figure(kind, kind) for kind in KINDS),
)


def file_piece(
    root: Path,
    seed: int,
    scale: float = 1.0,
    panel: str = "net",
    rows: tuple[str, ...] = (),
    models: dict[str, str] | None = None,
) -> Path:
    """File one piece with every kind of figure and a picture."""
    store = StudyStore(root)
    store.prepare(CARD)
    params = {"scale": scale, "dataset": "mnist"}
    spec = StudySpec(study="made-up", version=1, params=params, piece={"seed": seed}, models=models or {})
    points = [Point(figure="curve", series="own", x=x, y=scale * (seed + x), panel=panel) for x in (0.0, 0.5, 1.0)]
    points += [Point(figure="curve", series="control", x=0.5, y=0.1)]
    points += [Point(figure="boxes", series="own", x=word, y=seed + 0.5) for word in ("first", "second")]
    points += [Point(figure="scatter", series="own", x=0.9, y=seed / 10, label="net")]
    out = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), 10 * seed, np.uint8)).save(out, "PNG")
    picture = lossless(out.getvalue())
    record = StudyRecord(
        spec=spec,
        points=tuple(points),
        numbers={"area": seed / 4},
        pictures={"grey": sha256_of(picture)},
        rows=rows,
        environment={},
        seconds=3600,
        id=spec.id,
    )
    return store.write(record, {"grey": picture}).path
