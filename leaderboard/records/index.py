"""Looking up runs and their means by protocol, model and attack.

Tracks, profiles and the papers' tables use it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Literal, NamedTuple, Self

from pydantic import model_validator

from bench.core.schemas.records import LEVEL_MARK, Summary
from bench.core.schemas.strict import Strict
from bench.core.storage.stored_run import StoredRun
from leaderboard.records.selection import Edition, newest_entry, select, source_of


class Measure(Strict):
    """A number to look up for a model.

    It is a mean of one of its runs, or an accuracy that its entry states.
    """

    protocol: str = ""
    attack: str = ""
    metric: str = ""
    """Name of the metric, followed by `@<level>` for one level of a series."""
    samples: Literal["correct", "all"] = "all"
    entry: Literal["", "clean", "pgd40", "autoattack"] = ""

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        run = (self.protocol, self.attack, self.metric)
        if bool(self.entry) == any(run) or (not self.entry and not all(run)):
            raise ValueError(f"expected either an entry's accuracy or protocol, attack and metric, got {run}")
        return self


class _Place(NamedTuple):
    protocol: str
    model: str
    attack: str
    source: str | None
    """The network on which a transferred attack was crafted, or None for other attacks."""


class Book:
    """The run that counts per protocol, model and attack."""

    def __init__(self, runs: Iterable[StoredRun]) -> None:
        by_model: dict[str, list[StoredRun]] = defaultdict(list)
        by_protocol: dict[str, list[StoredRun]] = defaultdict(list)
        for run in runs:
            by_model[run.record.entry.name].append(run)
            by_protocol[run.record.spec.protocol.key].append(run)
        self.entries = {name: newest_entry(members) for name, members in sorted(by_model.items())}
        """The models' entries, by name."""
        self.protocols = {key: members[0].record.spec.protocol for key, members in by_protocol.items()}
        """The protocols, by key."""
        self._editions: dict[str, Edition] = {}
        self._runs: dict[_Place, StoredRun] = {}
        for key, members in by_protocol.items():
            selection = select(members)
            self._editions[key] = selection.edition
            for name, chosen in sorted(selection.runs.items()):
                for run in chosen:
                    source = source_of(run)
                    if run.record.spec.on_protocol or source is not None:
                        self._runs[_Place(key, name, run.record.spec.attack.name, source)] = run

    def models(self, protocol: str) -> list[str]:
        """Return the names of a protocol's models, controls last."""
        found = {place.model for place in self._runs if place.protocol == protocol}
        return sorted(found, key=lambda name: (not self.entries[name].contends, name))

    def attacks(self, protocol: str) -> list[str]:
        """Return the attacks that ran under a protocol, the floor first.

        Transferred attacks are left out.
        """
        found = {place.attack for place in self._runs if place.protocol == protocol and place.source is None}
        return sorted(found, key=lambda name: (name != self.protocols[protocol].floor, name))

    def sources(self, protocol: str) -> list[str]:
        """Return the networks on which transferred attacks were crafted."""
        return sorted({p.source for p in self._runs if p.protocol == protocol and p.source is not None})

    def run(self, protocol: str, model: str, attack: str, source: str | None = None) -> StoredRun | None:
        """Return a model's run, or None."""
        return self._runs.get(_Place(protocol, model, attack, source))

    def levels(self, protocol: str, attack: str, metric: str) -> list[str]:
        """Return the levels of a series at which a metric was measured.

        The levels are in the order of the attack's parameters. Attacks that are no series have none.
        """
        run = next((run for p, run in self._runs.items() if (p.protocol, p.attack) == (protocol, attack)), None)
        summaries = {} if run is None else run.record.summaries.get("all", {})
        start = metric + LEVEL_MARK
        return [name.removeprefix(start) for name in _in_order(run, summaries) if name.startswith(start)]

    def value(self, measure: Measure, model: str) -> Summary | None:
        """Return the number for a model, or None if not measured."""
        if measure.entry:
            return self._stated(measure.entry, model)
        run = self.run(measure.protocol, model, measure.attack)
        found = None if run is None else run.record.summaries.get(measure.samples, {}).get(measure.metric)
        return found if found is not None and found.mean is not None else None

    def whole(self, measure: Measure, model: str) -> Summary | None:
        """Return the number for a model only if it can be compared.

        It must come from a complete run of the model's newest weights, or from its entry. Else the result is None.
        """
        if not measure.entry:
            run = self.run(measure.protocol, model, measure.attack)
            if run is None or self._editions[measure.protocol].shortfalls(run.record):
                return None
            if run.record.spec.model.weights_sha256 != self.entries[model].weights.sha256:
                return None
        return self.value(measure, model)

    def _stated(self, what: Literal["clean", "pgd40", "autoattack"], model: str) -> Summary | None:
        entry = self.entries.get(model)
        if entry is None or entry.accuracy is None or (value := getattr(entry.accuracy, what)) is None:
            return None
        return Summary(mean=value, low=None, high=None, n=entry.accuracy.images, n_undefined=0)


def _in_order(run: StoredRun | None, summaries: dict[str, Summary]) -> list[str]:
    """Return the names of means in the order of the attack's levels.

    A record sorts them by name, which is another order.
    """
    if run is None:
        return []
    lists = [value for value in run.record.spec.attack.params.values() if isinstance(value, list)]
    stated = [value if isinstance(value, str) else f"{value:g}" for values in lists for value in values]
    order = {value: index for index, value in enumerate(stated)}

    def place(name: str) -> tuple[int, str]:
        level = name.partition(LEVEL_MARK)[2]
        return order.get(level, order.get(level.rpartition("-")[0], len(order))), name

    return sorted(summaries, key=place)
