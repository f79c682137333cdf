"""Which of a model's runs stand on a board: of its newest weights, those that can best be compared with the others'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.core.schemas.records import RunRecord, RunSpec
from bench.core.storage.store import StoredRun


@dataclass(frozen=True)
class Edition:
    """What made the numbers that a board compares."""

    engine: int
    versions: Mapping[str, int]
    """Per attack, its newest version."""

    def shortfalls(self, record: RunRecord) -> list[str]:
        """Return the reasons why a run cannot be compared with the board's others, in words."""
        spec, reasons = record.spec, []
        if spec.samples.count < spec.samples.of:
            reasons.append(f"{spec.samples.count} of {spec.samples.of} images")
        if not spec.on_protocol:
            reasons.append("attack or threat differs from the protocol")
        if spec.engine < self.engine:
            reasons.append(f"evaluated by engine {spec.engine}, the board's is {self.engine}")
        return reasons

    def outdated(self, record: RunRecord) -> str | None:
        """Say that a newer version of the attack has run on the board, which may find more; None where none has."""
        attack, newest = record.spec.attack, self.versions[record.spec.attack.name]
        return f"{attack.name} {attack.version}, newest {newest}" if attack.version < newest else None

    def fitness(self, run: StoredRun) -> tuple[object, ...]:
        """Return what is larger for the run that should stand on the board."""
        record, spec = run.record, run.record.spec
        lacking = -len(self.shortfalls(record))
        age = (spec.engine, spec.attack.version)
        return lacking, *age, spec.samples.count, record.environment.started, record.run_id

    def fittest(self, runs: list[StoredRun]) -> dict[str, StoredRun]:
        """Return a model's run per attack; runs off the protocol stand on a board only where there are no others."""
        candidates = of_weights(runs, newest_weights(runs))
        on_protocol = [run for run in candidates if run.record.spec.on_protocol]
        by_fitness = sorted(on_protocol or candidates, key=self.fitness)
        return {run.record.spec.attack.name: run for run in by_fitness}


def edition_of(runs: Iterable[StoredRun]) -> Edition:
    """Return the newest engine, and of each attack the newest version that ran on the protocol."""
    known = [run.record.spec for run in runs]
    versions = {spec.attack.name: spec.attack.version for spec in sorted(known, key=_age)}
    return Edition(max(spec.engine for spec in known), versions)


def _age(spec: RunSpec) -> tuple[bool, int]:
    return spec.on_protocol, spec.attack.version


def newest_weights(runs: Iterable[StoredRun]) -> str:
    """Return the checksum of a model's newest weights: the entry's date decides, then the run's."""
    newest = max(runs, key=lambda run: (run.record.entry.added, run.record.environment.started, run.record.run_id))
    return newest.record.spec.model.weights_sha256


def of_weights(runs: Iterable[StoredRun], weights: str) -> list[StoredRun]:
    """Return the runs of one network."""
    return [run for run in runs if run.record.spec.model.weights_sha256 == weights]
