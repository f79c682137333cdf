"""Compares attacks within budgets, over all networks of a protocol."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.core.schemas.spec import MetricSpec
from bench.core.storage.files import canonical_json
from bench.core.storage.stored_run import StoredRun
from leaderboard.comparisons.rivalry import TIE
from leaderboard.records.image_sets import DIGITS, ReadTable, is_control
from leaderboard.records.ledger import Account, titled

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

MOST_BUDGETS = 8
"""Columns of budgets, at most; the largest ones are kept."""

FEWEST_SHARED = 100
"""Pairs of network and image that the curves need in common; attacks with too few are left out of the plot."""

SHARE_COLUMNS = {
    "protocols": "the protocols that count together",
    "threat": "norm and radius of the ball",
    "metric": "name of the metric",
    "attack": "name of the attack",
    "version": "version of the attack; empty for submitted images",
    "budget": "gradient evaluations per image that an attack may use; empty: any number",
    "place": "place by the share; empty without images",
    "images": "pairs of network and image on which this and another attack have a value within the budget",
    "lowest": "how many of these on which no other attack within the budget leaves less",
    "share": "lowest over images",
    "evaluations": "mean gradient evaluations per image over all runs of the attack; empty if unknown",
    "shared_mean": "mean of the attack's lowest values within the budget, on the images that the plotted attacks share",
    "shared_images": "how many these are",
}
"""Columns of data/attacks.csv, and what they mean."""


@dataclass(frozen=True)
class Share:
    """How often an attack is lowest within a budget."""

    images: int
    lowest: int
    place: int | None

    @property
    def share(self) -> float | None:
        """Return the share of images, or None without images."""
        return self.lowest / self.images if self.images else None


@dataclass(frozen=True)
class Point:
    """The mean of an attack's lowest values at a cost."""

    evaluations: float
    mean: float


@dataclass(frozen=True)
class Entrant:
    """One version of an attack among the others."""

    title: str
    name: str
    version: int | None
    models: int
    evaluations: float | None
    shares: tuple[Share, ...]
    """One per budget."""
    points: tuple[Point, ...]
    """The cost curve, by rising cost; empty if the attack is not plotted."""

    def mean_within(self, budget: int | None) -> float | None:
        """Return the curve's mean within a budget, or None."""
        known = [point.mean for point in self.points if budget is None or point.evaluations <= budget]
        return known[-1] if known else None


@dataclass(frozen=True)
class Race:
    """The attacks on the networks of protocols that count together, without controls."""

    protocols: tuple[str, ...]
    threat: str
    metric: MetricSpec
    budgets: tuple[int | None, ...]
    """Gradient evaluations per image; None for any number."""
    entrants: tuple[Entrant, ...]
    """In the order of their shares at any cost."""
    models: int
    shared: int
    """Pairs of network and image on which the curves are means."""
    best_known: float | None
    """Mean of the lowest values of all attacks on these pairs."""


@dataclass(frozen=True)
class _Values:
    """The values of one run on the images of its network."""

    run: StoredRun
    places: Integers
    """(n,): the rows' places among the images of all networks."""
    values: Floats
    """(n,): robustness, larger is more robust; NaN where undefined."""
    kept: Flags
    """(n,): whether the class was kept."""
    costs: Floats
    """(n,): gradient evaluations; infinite if unknown."""


def races(accounts: Iterable[Account], read: ReadTable) -> list[Race]:
    """Return one race per rankable protocol, or per group that counts together.

    Args:
        accounts: the accounts of the primary metrics.
        read: returns a run's rows.
    """
    groups: dict[tuple[str, str], list[Account]] = defaultdict(list)
    for account in accounts:
        if not is_control(account.runs[0].record.entry):
            groups[account.conditions, account.metric.model_dump_json()].append(account)
    made = [_race(members, read) for members in groups.values() if _counts(members)]
    return sorted(made, key=lambda race: (-race.models, race.protocols, race.metric.name))


def _counts(members: Sequence[Account]) -> bool:
    """Say whether a group of a board has attacks to compare."""
    specs = [run.record.spec for account in members for run in account.runs]
    of_board = any(spec.on_protocol and spec.protocol.rankable for spec in specs)
    return of_board and len({titled(spec) for spec in specs}) > 1


def _race(members: Sequence[Account], read: ReadTable) -> Race:
    values, count = _values(members, read)
    titles = sorted({titled(each.run.record.spec) for each in values})
    budgets = _budgets(values)
    shares = {budget: _shares(values, titles, count, budget) for budget in budgets}
    points, shared, best_known = _curves(values, titles, count)
    entrants = [
        _entrant(title, values, tuple(shares[budget][title] for budget in budgets), points.get(title, ()))
        for title in titles
    ]
    order = sorted(entrants, key=lambda each: (-(each.shares[-1].share or 0.0), each.title))
    first = members[0]
    protocols = tuple(sorted({name for account in members for name in account.protocols}))
    return Race(protocols, first.threat, first.metric, budgets, tuple(order), len(members), shared, best_known)


def _values(members: Sequence[Account], read: ReadTable) -> tuple[list[_Values], int]:
    """Return the values of all runs, and the number of images."""
    found, start = [], 0
    for account in members:
        sign = -1.0 if account.metric.higher_is == "less-robust" else 1.0
        places: dict[str, int] = {}
        for run in account.runs:
            table = read(run)
            ids = table["sample_id"].to_pylist()
            here = np.array([places.setdefault(name, start + len(places)) for name in ids], np.int64)
            known = not run.record.spec.attack.is_external
            costs = np.asarray(table["gradient_evaluations"].to_numpy(), np.float64)
            found.append(
                _Values(
                    run,
                    here,
                    sign * np.asarray(table[account.metric.name].to_numpy(), np.float64),
                    table["feasible"].to_numpy().astype(bool),
                    costs if known else np.full(len(ids), np.inf),
                )
            )
        start += len(places)
    return found, start


def _budgets(values: Sequence[_Values]) -> tuple[int | None, ...]:
    """Return round budgets from the cheapest run to the dearest.

    None, the last one, stands for any cost.
    """
    costs = [float(each.costs.max()) for each in values if np.isfinite(each.costs).all() and each.costs.max() > 0]
    if not costs:
        return (None,)
    steps = [factor * 10**power for power in range(9) for factor in (1, 2, 5)]
    low = next(place for place, step in enumerate(steps) if step >= min(costs))
    high = next(place for place, step in enumerate(steps) if step >= max(costs))
    return (*steps[low : high + 1][-MOST_BUDGETS:], None)


def _shares(values: Sequence[_Values], titles: Sequence[str], count: int, budget: int | None) -> dict[str, Share]:
    """Return how often each attack is lowest within a budget."""
    least, looked = np.full((len(titles), count), np.inf), np.zeros((len(titles), count), bool)
    for each in values:
        row = titles.index(titled(each.run.record.spec))
        within = ~np.isnan(each.values) & (True if budget is None else each.costs <= budget)
        here = each.places[within]
        looked[row, here] = True
        least[row, here] = np.minimum(least[row, here], np.where(each.kept, each.values, np.inf)[within])
    lowest = least.min(axis=0)
    contested = (looked.sum(axis=0) > 1) & np.isfinite(lowest)
    images = (looked & contested).sum(axis=1).tolist()
    won = (contested & (least <= lowest + TIE)).sum(axis=1).tolist()
    ratios = [w / n if n else None for w, n in zip(won, images, strict=True)]
    return {
        title: Share(n, w, None if ratio is None else 1 + sum(other is not None and other > ratio for other in ratios))
        for title, n, w, ratio in zip(titles, images, won, ratios, strict=True)
    }


def _curves(
    values: Sequence[_Values], titles: Sequence[str], count: int
) -> tuple[dict[str, tuple[Point, ...]], int, float | None]:
    """Return the cost curves, the shared images and the best mean.

    An attack has one point per setting that covers all shared images, with the lowest values of the settings up to it.
    An image that lost its class counts as unmoved.
    """
    measured = {title: np.zeros(count, bool) for title in titles}
    settings: dict[tuple[str, str], tuple[Floats, Floats]] = {}
    lowest = np.full(count, np.inf)
    for each in values:
        title = titled(each.run.record.spec)
        value, cost = settings.setdefault((title, _setting(each.run)), (np.full(count, np.nan), np.full(count, np.nan)))
        value[each.places], cost[each.places] = each.values, each.costs
        measured[title][each.places] |= ~np.isnan(each.values) & np.isfinite(each.costs)
        lowest[each.places] = np.fmin(lowest[each.places], each.values)
    shared = _shared(list(measured.values()))
    if not shared.any():
        return {}, 0, None
    curves: dict[str, tuple[Point, ...]] = {}
    sign = -1.0 if values[0].run.record.spec.primary.higher_is == "less-robust" else 1.0
    for title in titles:
        own = [(v[shared], c[shared]) for (name, _), (v, c) in settings.items() if name == title]
        whole = [(value, float(costs.mean())) for value, costs in own if not np.isnan(value).any()]
        best, points = np.full(int(shared.sum()), np.inf), []
        for value, mean_cost in sorted(whole, key=lambda pair: pair[1]):
            if np.isfinite(mean_cost):
                best = np.minimum(best, value)
                points.append(Point(round(mean_cost, 1), round(sign * float(best.mean()), DIGITS)))
        if points:
            curves[title] = tuple(points)
    return curves, int(shared.sum()), round(sign * float(lowest[shared].mean()), DIGITS)


def _shared(measured: list[Flags]) -> Flags:
    """Return the images that enough attacks have in common.

    Attacks with the fewest images are left out until the others share enough.
    """
    rest = sorted((each for each in measured if each.any()), key=lambda each: int(each.sum()))
    while len(rest) > 1:
        common: Flags = np.logical_and.reduce(rest)
        if int(common.sum()) >= FEWEST_SHARED:
            return common
        rest = rest[1:]
    return np.zeros_like(measured[0])


def _setting(run: StoredRun) -> str:
    """Return everything that two runs of one setting share, as JSON."""
    spec = run.record.spec
    parts = ("attack", "surrogate", "search_attribution", "crafted_on")
    return canonical_json(spec.model_dump(mode="json", include=set(parts)))


def _entrant(title: str, values: Sequence[_Values], shares: tuple[Share, ...], points: tuple[Point, ...]) -> Entrant:
    own = [each for each in values if titled(each.run.record.spec) == title]
    spec = own[0].run.record.spec
    means = [cost for each in own if (cost := _mean_cost(each)) is not None]
    models = len({each.run.record.entry.name for each in own})
    version = None if spec.attack.is_external else spec.attack.version
    mean = round(float(np.mean(means)), 1) if means else None
    return Entrant(title, spec.attack.name, version, models, mean, shares, points)


def _mean_cost(each: _Values) -> float | None:
    return None if each.run.record.spec.attack.is_external else float(each.costs.mean())
