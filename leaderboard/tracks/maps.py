"""Tables that compare attribution methods on the same images.

A track's protocols may differ in their attribution alone. Then one table shows all methods of all models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.core.schemas.records import Summary
from leaderboard.records.index import Book
from leaderboard.tracks.tracks import Column, Section, tables_of


@dataclass(frozen=True)
class MapLine:
    """Row of one model's map by one attribution method."""

    model: str
    attribution: str
    values: tuple[Summary | None, ...]


@dataclass(frozen=True)
class MapTable:
    """Table of a metric with a row per model and attribution method."""

    caption: str
    keys: tuple[str, ...]
    columns: tuple[Column, ...]
    lines: tuple[MapLine, ...]


def map_tables(book: Book, parts: Sequence[Section], metrics: Sequence[str]) -> list[MapTable]:
    """Return the tables that compare attribution methods of a track.

    Protocols belong to one table if they share images and threat model. The tables show the first of `metrics`, and the
    primary metric of the protocols.
    """
    groups: dict[tuple[str, str], list[Section]] = defaultdict(list)
    for part in parts:
        groups[part.spec.samples.sha256, part.spec.threat.model_dump_json()].append(part)
    return [table for group in groups.values() for table in _tables_of_group(book, group, metrics)]


def _tables_of_group(book: Book, group: Sequence[Section], metrics: Sequence[str]) -> Iterator[MapTable]:
    if len({part.spec.attribution.name for part in group}) < 2:
        return
    for metric in dict.fromkeys((metrics[0], group[0].spec.primary_metric)):
        tables = {part.key: table for part in group for table in tables_of(book, part.spec, metric)}
        if not tables:
            continue
        columns = tuple(dict.fromkeys(column for table in tables.values() for column in table.columns))
        lines = []
        for part in group:
            for line in tables[part.key].lines if part.key in tables else ():
                found = dict(zip(tables[part.key].columns, line.values, strict=True))
                lines.append(MapLine(line.model, part.spec.attribution.name, tuple(map(found.get, columns))))
        lines.sort(key=lambda line: (line.model, line.attribution))
        yield MapTable(next(iter(tables.values())).caption, tuple(tables), columns, tuple(lines))
