"""Comparing a board's attacks with each other, image by image.

For each metric, a comparison counts the images on which one attack leaves less of a map than another.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt

from bench.core.schemas.spec import MetricSpec
from leaderboard.boards.board import Board, Standing, ranking
from leaderboard.records.image_sets import ReadTable, is_control
from leaderboard.records.rows import matrix

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TIE = 1e-6
"""Values that differ by less count as equal, as float32 is no more exact."""


@dataclass(frozen=True)
class Rival:
    """How often one attack beats another."""

    attack: str
    images: int
    """Number of images, summed over the models that both attacks ran on."""
    shares: tuple[float | None, ...]
    """Per metric, the share of images on which the first attack leaves less. Undefined values do not count."""


@dataclass(frozen=True)
class Rivalry:
    """Counts for all pairs of a board's attacks.

    The counts are over the images that rank, of all models except controls.
    """

    attacks: tuple[str, ...]
    metrics: tuple[MetricSpec, ...]
    """The metrics that say how robust an explanation is."""
    images: Counts
    """(A, A). Number of images, summed over the models that both attacks ran on."""
    less: Counts
    """(A, A, M). Number of these images on which the row's attack leaves less than the column's."""
    defined: Counts
    """(A, A, M). Number of these images on which the metric is defined under both attacks."""
    first: Counts
    """(A, M). Number of images on which no other attack on the same model leaves less."""

    def rivals(self, attack: str) -> tuple[Rival, ...]:
        """Return an attack's comparisons with the attacks on the same models."""
        row = self.attacks.index(attack)
        return tuple(
            Rival(other, int(self.images[row, column]), _shares(self.less[row, column], self.defined[row, column]))
            for column, other in enumerate(self.attacks)
            if column != row and self.images[row, column]
        )

    def minimum(self, attack: str) -> Rival:
        """Return an attack's comparison with all other attacks together.

        The share counts the images on which none of them leaves less.
        """
        row = self.attacks.index(attack)
        return Rival(attack, int(self.images[row, row]), _shares(self.first[row], self.defined[row, row]))


def rivalry(board: Board, read: ReadTable) -> Rivalry:
    """Return the comparisons of a board's attacks with each other."""
    attacks = board.attacks
    metrics = tuple(metric for metric in board.spec.metrics if metric.higher_is != "neutral")
    count, width = len(attacks), len(metrics)
    found = Rivalry(
        attacks,
        metrics,
        images=np.zeros((count, count), np.int64),
        less=np.zeros((count, count, width), np.int64),
        defined=np.zeros((count, count, width), np.int64),
        first=np.zeros((count, width), np.int64),
    )
    for standing in board.standings:
        here = [place for place, attack in enumerate(attacks) if attack in standing.runs]
        if here and not is_control(standing.entry):
            _add(found, here, _values(board, standing, metrics, read))
    return found


def _add(found: Rivalry, here: list[int], values: Floats) -> None:
    """Add the counts of one model.

    Args:
        found: the counts so far.
        here: the positions of the attacks that the model has.
        values: (A, N, M). Robustness under these attacks, larger is more robust.
    """
    known = ~np.isnan(values)
    both = known[:, None] & known[None]
    cells = np.ix_(here, here)
    found.images[cells] += values.shape[1]
    found.less[cells] += (both & (values[:, None] < values[None] - TIE)).sum(axis=2)
    found.defined[cells] += both.sum(axis=2)
    least = np.where(known, values, np.inf).min(axis=0)
    found.first[here] += (known & (values <= least + TIE)).sum(axis=1)


def _values(board: Board, standing: Standing, metrics: tuple[MetricSpec, ...], read: ReadTable) -> Floats:
    """Return (A, N, M) robustness of a model under its attacks.

    The attacks are in the board's order; the images are in the rows of every one of them.
    """
    names = [metric.name for metric in metrics]
    rows = [read(standing.runs[attack]) for attack in board.attacks if attack in standing.runs]
    chosen = [ranking(board, table) for table in rows]
    ids = [np.array(table["sample_id"].to_pylist())[some] for table, some in zip(rows, chosen, strict=True)]
    values = [matrix(table, names)[some] for table, some in zip(rows, chosen, strict=True)]
    if any(not np.array_equal(other, ids[0]) for other in ids):
        shared = reduce(np.intersect1d, ids)
        orders = [np.argsort(own) for own in ids]
        places = [order[np.searchsorted(own, shared, sorter=order)] for own, order in zip(ids, orders, strict=True)]
        values = [own[place] for own, place in zip(values, places, strict=True)]
    signs = np.array([-1.0 if metric.higher_is == "less-robust" else 1.0 for metric in metrics])
    robustness: Floats = np.stack(values) * signs
    return robustness


def _shares(won: Counts, of: Counts) -> tuple[float | None, ...]:
    return tuple(w / n if n else None for w, n in zip(won.tolist(), of.tolist(), strict=True))
