"""The rule that chooses which of a model's runs counts.

Boards, tracks, profiles and the showcase all use it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.records import RunRecord
from bench.core.schemas.spec import RunSpec
from bench.core.storage.stored_run import StoredRun


@dataclass(frozen=True)
class Edition:
    """Versions of the engine and of the attacks that a board compares."""

    engine: int
    versions: Mapping[str, int]
    """Newest version by attack, among versions that ran on the protocol."""

    def shortfalls(self, record: RunRecord) -> list[str]:
        """Return the reasons why a run cannot be compared on the board."""
        spec, reasons = record.spec, []
        if spec.samples.count < spec.samples.of:
            reasons.append(f"{spec.samples.count} of {spec.samples.of} images")
        if not spec.on_protocol:
            reasons.append("attack or threat differs from the protocol")
        if spec.engine < self.engine:
            reasons.append(f"evaluated by engine {spec.engine}, the board's is {self.engine}")
        return reasons

    def outdated(self, record: RunRecord) -> str | None:
        """Return a note that a newer attack version ran, or None.

        A newer version may find more.
        """
        attack, newest = record.spec.attack, self.versions[record.spec.attack.name]
        return f"{attack.name} {attack.version}, newest {newest}" if attack.version < newest else None

    def fitness(self, run: StoredRun) -> tuple[object, ...]:
        """Return the sort key that is largest for the run that counts."""
        record, spec = run.record, run.record.spec
        comparable = spec.on_protocol, -len(self.shortfalls(record))
        age = spec.engine, spec.attack.version
        return *comparable, *age, spec.samples.count, record.environment.started, record.run_id


@dataclass(frozen=True)
class Selection:
    """The runs of one protocol that count."""

    edition: Edition
    runs: Mapping[str, tuple[StoredRun, ...]]
    """Runs by model, the fittest last: one of its newest weights per attack and source of transferred images."""

    def on_board(self, model: str) -> dict[str, StoredRun]:
        """Return a model's run per attack.

        Runs that differ from the protocol count only if the model has no other runs.
        """
        found = self.runs[model]
        on_protocol = [run for run in found if run.record.spec.on_protocol]
        return {run.record.spec.attack.name: run for run in on_protocol or found}


def select(runs: Iterable[StoredRun]) -> Selection:
    """Return the runs that count, among the runs of one protocol."""
    by_model: dict[str, list[StoredRun]] = defaultdict(list)
    for run in runs:
        by_model[run.record.entry.name].append(run)
    edition = _edition(run for members in by_model.values() for run in members)
    return Selection(edition, {name: _fittest(edition, members) for name, members in by_model.items()})


def source_of(run: StoredRun) -> str | None:
    """Return the network on which a transferred attack was crafted, or None."""
    crafted_on = run.record.spec.crafted_on
    return None if crafted_on is None else crafted_on.model.name


def _fittest(edition: Edition, runs: list[StoredRun]) -> tuple[StoredRun, ...]:
    by_fitness = sorted(of_weights(runs, newest_weights(runs)), key=edition.fitness)
    last = {(run.record.spec.attack.name, source_of(run)): run for run in by_fitness}
    return tuple(sorted(last.values(), key=edition.fitness))


def _edition(runs: Iterable[StoredRun]) -> Edition:
    """Return the newest engine and the newest versions of the attacks.

    Versions that ran on the protocol go before other versions.
    """
    known = [run.record.spec for run in runs]
    versions = {spec.attack.name: spec.attack.version for spec in sorted(known, key=_age)}
    return Edition(max(spec.engine for spec in known), versions)


def _age(spec: RunSpec) -> tuple[bool, int]:
    return spec.on_protocol, spec.attack.version


def newest_weights(runs: Iterable[StoredRun]) -> str:
    """Return the checksum of a model's newest weights.

    The latest date of the entry decides, then the latest date of a run.
    """
    newest = max(runs, key=lambda run: (run.record.entry.added, run.record.environment.started, run.record.run_id))
    return newest.record.spec.model.weights_sha256


def of_weights(runs: Iterable[StoredRun], weights: str) -> list[StoredRun]:
    """Return the runs with one network's weights."""
    return [run for run in runs if run.record.spec.model.weights_sha256 == weights]


def newest_entry(runs: list[StoredRun]) -> ModelEntry:
    """Return a model's entry from the latest run of its newest weights."""
    current = of_weights(runs, newest_weights(runs))
    return max(current, key=lambda run: (run.record.environment.started, run.record.run_id)).record.entry
