"""How far the attack that scores stays behind the best known values.

Nothing here changes a score or a rank.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.core.storage.stored_run import StoredRun
from bench.core.text import counted
from leaderboard.boards.board import HEADLINE, BestKnown, Board, Shortfall, Standing, ranking, robustness
from leaderboard.records.image_sets import DIGITS, ReadTable
from leaderboard.records.ledger import Account, conditions, titled
from leaderboard.records.statistics import shared_bootstrap_interval

Floats = npt.NDArray[np.float64]

LONGER = "auto-long"
"""The attack that bounds by how much `auto` falls short: the same search with ten times the budget."""

FEWEST = 2
"""Images that a comparison with `auto-long` needs, as one image has no interval."""

_Key = tuple[str, str, str]


class Ledger:
    """The accounts of all networks, and their runs of `auto-long`.

    Args:
        accounts: the accounts of some records.
        runs: the same records.
    """

    def __init__(self, accounts: Iterable[Account], runs: Iterable[StoredRun]) -> None:
        self._accounts = {(a.weights_sha256, a.conditions, a.metric.model_dump_json()): a for a in accounts}
        longer = [run for run in runs if run.record.spec.attack.name == LONGER]
        self._longer = {_key(run): run for run in sorted(longer, key=_width)}

    def account(self, run: StoredRun) -> Account | None:
        """Return the account that a run's primary metric counts in."""
        return self._accounts.get(_key(run))

    def long_run(self, run: StoredRun) -> StoredRun | None:
        """Return the run of `auto-long` beside a run, over the most images."""
        return self._longer.get(_key(run))


def _key(run: StoredRun) -> _Key:
    spec = run.record.spec
    return spec.model.weights_sha256, conditions(spec), spec.primary.model_dump_json()


def with_best_known(board: Board, ledger: Ledger, read: ReadTable) -> Board:
    """Return a board whose models know the lowest values of any attack.

    Args:
        board: the board.
        ledger: the accounts of the same records.
        read: returns a run's rows.
    """
    changed = {s.entry.name: _known(board, s, ledger, read) for s in board.by_name.values()}
    standings, aside = ([changed[s.entry.name] for s in part] for part in (board.standings, board.aside))
    return replace(board, standings=tuple(standings), aside=tuple(aside))


def _known(board: Board, standing: Standing, ledger: Ledger, read: ReadTable) -> Standing:
    run = standing.headline_run
    if run is None:
        return standing
    longer = None
    if HEADLINE in board.attacks:
        longer = _shortfall(board, run, ledger.long_run(run), read)
    return replace(standing, best_known=_best(board, run, ledger.account(run), read), shortfall=longer)


def _best(board: Board, run: StoredRun, account: Account | None, read: ReadTable) -> BestKnown | None:
    """Return the best known values beside a run's, or None.

    None if the run has no image that ranks. An image that every attack lost counts with the run's own value, as it
    does in the score.
    """
    table, name = read(run), board.spec.primary_metric
    scored = _by_id(table, name, ranking(board, table))
    if account is None or not scored:
        return None
    lowest = {reached.sample_id: reached for reached in account.reached}
    sign = robustness(board.spec.primary, 1.0)
    finders: Counter[str] = Counter()
    gaps, values = [], []
    for sample, value in scored.items():
        reached = lowest.get(sample)
        gap = 0.0 if reached is None else sign * (value - reached.value)
        if reached is not None and gap > 0:
            finders[titled(reached.run.record.spec)] += 1
        gaps.append(max(gap, 0.0))
        values.append(value if reached is None or gap <= 0 else reached.value)
    found_by = tuple(sorted(finders.items(), key=lambda item: (-item[1], item[0])))
    return BestKnown(round(float(np.mean(values)), DIGITS), *_mean_with_interval(np.array(gaps)), len(gaps), found_by)


def _shortfall(board: Board, run: StoredRun, longer: StoredRun | None, read: ReadTable) -> Shortfall:
    """Return by how much a run leaves more than `auto-long`.

    Only images that rank and that kept their class under both attacks count.
    """
    if run.record.spec.attack.name != HEADLINE:
        return Shortfall(f"no run of {HEADLINE}")
    if longer is None:
        return Shortfall(f"no run of {LONGER}")
    sides = []
    for each in (run, longer):
        table = read(each)
        chosen = ranking(board, table) & table["feasible"].to_numpy().astype(bool)
        sides.append(_by_id(table, board.spec.primary_metric, chosen))
    shared = [name for name in sides[0] if name in sides[1]]
    if len(shared) < FEWEST:
        return Shortfall(f"{counted(len(shared), 'image')} in common with {LONGER}")
    gaps = robustness(board.spec.primary, 1.0) * np.array([sides[0][name] - sides[1][name] for name in shared])
    return Shortfall("", *_mean_with_interval(gaps), len(shared))


def _mean_with_interval(gaps: Floats) -> tuple[float, float, float]:
    """Return the mean of (N,) gaps and both ends of its interval.

    They are rounded, so that sums on different machines agree.
    """
    low, high = shared_bootstrap_interval(gaps)
    return round(float(gaps.mean()), DIGITS), round(low, DIGITS), round(high, DIGITS)


def _by_id(table: pa.Table, name: str, chosen: npt.NDArray[np.bool_]) -> dict[str, float]:
    """Return the defined values of chosen rows, by sample id."""
    values = np.asarray(table[name].to_numpy(), np.float64)
    some = chosen & ~np.isnan(values)
    ids = np.asarray(table["sample_id"].to_pylist())[some]
    return dict(zip(ids.tolist(), values[some].tolist(), strict=True))


def _width(run: StoredRun) -> tuple[int, int, str]:
    spec = run.record.spec
    return spec.samples.count, spec.attack.version, run.record.run_id
