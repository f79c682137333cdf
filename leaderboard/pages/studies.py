"""The pages of the studies, and their index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.core.schemas.study import Key
from leaderboard.drawing.studies import Drawn, drawn
from leaderboard.pages import render
from leaderboard.pages.site import Staging
from leaderboard.records.rows import to_csv
from leaderboard.records.studies import Setting, StudyResults, numbers_table, points_table


@dataclass(frozen=True)
class Picture:
    """A picture of a piece."""

    file: str
    piece: str
    """The piece that made it, in words."""
    rows: tuple[str, ...]
    """What its rows show, from the top; empty if the piece does not tell."""


@dataclass(frozen=True)
class Section:
    """A setting of a study with its figures and pictures."""

    setting: Setting
    command: str
    figures: tuple[Drawn, ...]
    pictures: tuple[Picture, ...]


def add_study_pages(found: Sequence[StudyResults], site: Staging) -> None:
    """Add the index of studies, their pages and tables.

    Raises:
        IntegrityError: if a picture is damaged.
    """
    for results in found:
        key = results.card.key
        sections = [_section(results, setting, site) for setting in results.settings]
        site.add(f"studies/{key}.html", render.render("study.html", root="../", study=results, sections=sections))
        site.add(f"data/studies/{key}-points.csv", to_csv(points_table(results)))
        site.add(f"data/studies/{key}-pieces.csv", to_csv(numbers_table(results)))
    site.add("studies.html", render.render("studies.html", root="", studies=found))


def _section(results: StudyResults, setting: Setting, site: Staging) -> Section:
    points = [point for piece in setting.pieces for point in piece.record.points]
    figures = (drawn(figure, points) for figure in results.card.figures)
    pictures = []
    for piece in sorted(setting.pieces, key=lambda piece: bool(piece.record.spec.models)):  # without a network first
        for name in piece.record.pictures:
            file = f"{piece.record.id[:12]}-{name}.webp"
            site.add(f"images/studies/{file}", piece.picture(name))
            pictures.append(Picture(file, _words(piece.record.spec.piece), piece.record.rows))
    return Section(setting, results.command(setting), tuple(f for f in figures if f is not None), tuple(pictures))


def _words(key: Key) -> str:
    """Return the key of a piece in words."""
    return ", ".join(f"no {name}" if value == "none" else f"{name} {value}" for name, value in key.items())
