"""Rendering boards and runs as HTML pages.

Jinja2 escapes all values, as text from submitters is untrusted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from bench import registry
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.records import RunRecord, Summary
from bench.core.schemas.spec import MetricSpec
from bench.core.schemas.track import Track
from bench.core.storage.stored_run import StoredRun
from leaderboard.boards.attack_results import AttackResults, Definition
from leaderboard.boards.audit_curves import KNOBS, Curve
from leaderboard.boards.board import Board
from leaderboard.boards.profiles import Bar
from leaderboard.boards.roles import metrics_of
from leaderboard.comparisons.attack_costs import Race
from leaderboard.comparisons.models import Comparison, page_name
from leaderboard.data.croissant import FIELDS
from leaderboard.data.document import SCHEMA
from leaderboard.data.tables import TABLES
from leaderboard.drawing.axis import Axis, axis
from leaderboard.drawing.costs import cost_plot
from leaderboard.drawing.exhibit import Exhibit
from leaderboard.drawing.plots import Curves, Interval, heat, panel, ranks, scores, sweeps
from leaderboard.drawing.scatter import scatter
from leaderboard.drawing.strips import Strip
from leaderboard.pages.filters import FILTERS, is_web_link
from leaderboard.records.command import command
from leaderboard.records.image_sets import MEANINGS as SETS
from leaderboard.records.image_sets import SampleSetName

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
)

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class RunView:
    """A run as the page of its model shows it."""

    run: StoredRun
    shortfalls: tuple[str, ...]
    on_board: bool
    common: Mapping[str, Summary]
    """Per metric, the mean over the reference set's images; empty on a board without a reference set."""
    floor: StoredRun | None
    strips: list[Strip]

    @property
    def record(self) -> RunRecord:
        """The run's record."""
        return self.run.record

    @property
    def is_floor(self) -> bool:
        """Whether the run's attack is the protocol's floor."""
        return self.record.spec.attack.name == self.record.spec.protocol.floor

    @property
    def summaries(self) -> dict[SampleSetName, Mapping[str, Summary]]:
        """Means per sample set of the run, the set that ranks first."""
        own = self.record.summaries
        found = {"common": self.common, "correct": own.get("correct", {}), "all": own.get("all", {})}
        return {name: found[name] for name in SETS if found[name]}

    @property
    def short_id(self) -> str:
        """The part of the run's id that names its files."""
        return self.record.run_id[:12]


def index_page(boards: list[Board], exhibit: Exhibit | None, made: set[str], tracks: Mapping[str, Track]) -> str:
    """Return the page of all boards.

    Args:
        boards: the boards, in order.
        exhibit: the image to show under several models.
        made: the existing pages of pairs and of images.
        tracks: the tracks that have runs, by name.
    """
    return render("index.html", root="", boards=boards, exhibit=exhibit, made=made, tracks=tracks)


def model_page(
    entry: ModelEntry, groups: list[tuple[Board, list[RunView]]], models: set[str], profile: Sequence[Bar] = ()
) -> str:
    """Return a model's page with entry, profile and runs by protocol."""
    return render("model.html", root="../", entry=entry, groups=groups, models=models, profile=profile)


def plots_page(board: Board, curves: Curves | None) -> str:
    """Return the page of a board's plots."""
    drawn = {
        "scatter": scatter(board),
        "scores": scores(board),
        "ranks": ranks(board),
        "curves": curves,
        "heat": heat(board),
        "sweeps": sweeps(board),
    }
    return render("plots.html", root="../", board=board, **drawn)


def choice_page(boards: list[Board], made: set[str]) -> str:
    """Return the page on which readers choose models to compare.

    `made` names the existing pages of pairs.
    """
    pairs = {
        board.protocol.key: sorted(n for n in made if n.startswith(f"compare/{board.protocol.key}/"))
        for board in boards
    }
    return render("choice.html", root="", boards=boards, pairs=pairs)


def compare_page(board: Board, pair: Comparison) -> str:
    """Return the page that compares two models of a board."""
    return render("compare.html", root="../../", board=board, pair=pair)


def gallery_page(board: Board, gallery: list[Exhibit]) -> str:
    """Return the page of a board's showcase images."""
    return render("gallery.html", root="../", board=board, gallery=gallery)


def sweep_drawing(curves: Sequence[Curve]) -> str:
    """Return the curves of a model's audit as one self-contained SVG."""
    return render("sweeps.svg", panels=[panel(curve) for curve in curves])


def attack_page(attack: str, boards: list[AttackResults], definition: Definition | None) -> str:
    """Return the page of an attack, with its description if any."""
    return render("attack.html", root="../", attack=attack, boards=boards, definition=definition)


def attacks_page(races: Sequence[Race], pages: set[str]) -> str:
    """Return the page that ranks attacks by how often each is lowest.

    `pages` names the attacks that have a page of their own.
    """
    return render("attacks.html", root="", races=[(race, cost_plot(race)) for race in races], pages=pages)


def about_page(boards: list[Board]) -> str:
    """Return the page that explains how the numbers are made."""
    tables = {f"data/{name}": columns for name, columns in TABLES.items()}
    tables["data/<protocol>-samples.csv"] = {name: meaning for name, (_, meaning) in FIELDS.items()}
    return render("about.html", root="", boards=boards, tables=tables, schema=SCHEMA, sets=SETS)


def _beside_robustness(board: Board) -> list[tuple[str, MetricSpec]]:
    """Return the board's metrics of faithfulness and sparsity with their roles."""
    wanted = [(role, name) for role in ("faithfulness", "sparsity") for name in metrics_of(role)]
    return [(role, metric) for role, name in wanted for metric in board.spec.metrics if metric.name == name]


def _measured(board: Board, accuracy: str) -> bool:
    """Say whether any model of a board has the named accuracy measured."""
    entries = [standing.entry for standing in board.standings]
    return any(e.accuracy is not None and getattr(e.accuracy, accuracy) is not None for e in entries)


def _axis(board: Board) -> tuple[float, float]:
    """Return the ends of the axis of a board's bars."""
    primary = board.spec.primary_metric
    found = [standing.summary(attack, primary) for standing in board.standings for attack in standing.runs]
    return _axis_of([summary for summary in found if summary is not None])


def _axis_of(summaries: list[Summary]) -> tuple[float, float]:
    """Return the ends of an axis for [0, 1] and all intervals."""
    lows = [s.low for s in summaries if s.low is not None]
    highs = [s.high for s in summaries if s.high is not None]
    return min([0.0, *lows]), max([1.0, *highs])


def _bar(summary: Summary | None, floor: Summary | None, axis: tuple[float, float]) -> dict[str, str | None] | None:
    """Return the x coordinates of an interval, its mean and the floor.

    They are in percent of the width of the axis.
    """
    if summary is None or summary.mean is None or summary.low is None or summary.high is None:
        return None

    def place(value: float) -> str:
        share = (value - axis[0]) / (axis[1] - axis[0])
        return f"{2 + 96 * min(1.0, max(0.0, share)):.4g}"

    tick = None if floor is None or floor.mean is None else place(floor.mean)
    low, mean, high = place(summary.low), place(summary.mean), place(summary.high)
    return {"low": low, "mean": mean, "high": high, "zero": place(0.0), "floor": tick}


def _axis_around(rows: list[Interval]) -> Axis:
    return axis([value for row in rows for value in (row.low, row.high)], 170, 468)


def _direction(metric: MetricSpec) -> str:
    """Return the sort order that puts the most robust model first."""
    return "ascending" if metric.higher_is == "less-robust" else "descending"


def render(template: str, **content: Any) -> str:
    """Return a page from its template."""
    return _environment().get_template(template).render(policy=CONTENT_POLICY, **content)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.tests |= {"web_link": is_web_link}
    environment.globals |= {
        "KNOBS": KNOBS,
        "MEANINGS": {name: registry.load("flags", name) for name in registry.names("flags")},
        "axis": _axis,
        "axis_around": _axis_around,
        "axis_of": _axis_of,
        "bar": _bar,
        "beside_robustness": _beside_robustness,
        "command": command,
        "measured": _measured,
        "direction": _direction,
        "page_name": page_name,
        "panel": panel,
    }
    return environment
