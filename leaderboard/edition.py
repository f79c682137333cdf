"""Which of a model's runs stand on a board: of its newest weights, those that can best be compared with the others'."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.core.records import RunRecord
from bench.core.store import StoredRun


@dataclass(frozen=True)
class Edition:
    """What made the numbers that a board compares."""

    engine: int
    versions: Mapping[str, int]
    """Per attack, its version."""

    def shortfalls(self, record: RunRecord) -> list[str]:
        """Return the reasons why a run cannot be compared with the board's others, in words."""
        spec, reasons = record.spec, []
        if spec.samples.count < spec.samples.of:
            reasons.append(f"{spec.samples.count} of {spec.samples.of} images")
        if not spec.on_protocol:
            reasons.append("attack or threat differs from the protocol")
        if spec.engine < self.engine:
            reasons.append(f"evaluated by engine {spec.engine}, the board's is {self.engine}")
        if spec.attack.version != (version := self.versions[spec.attack.name]):
            reasons.append(f"version {spec.attack.version} of the attack, the board's is {version}")
        return reasons

    def fitness(self, run: StoredRun) -> tuple[object, ...]:
        """Return what is larger for the run that should stand on the board."""
        record = run.record
        lacking = -len(self.shortfalls(record))
        return lacking, record.spec.engine, record.spec.samples.count, record.environment.started, record.run_id

    def fittest(self, runs: list[StoredRun]) -> dict[str, StoredRun]:
        """Return a model's run per attack; runs off the protocol stand on a board only where there are no others."""
        candidates = of_weights(runs, newest_weights(runs))
        on_protocol = [run for run in candidates if run.record.spec.on_protocol]
        by_fitness = sorted(on_protocol or candidates, key=self.fitness)
        return {run.record.spec.attack.name: run for run in by_fitness}


def edition_of(runs: Iterable[StoredRun]) -> Edition:
    """Return the newest engine and, of each attack, the version that evaluated most images with it.

    So one run by a newer version of an attack does not unrank everybody who was run by the one before: a board moves on
    when most of it has.
    """
    known = list(runs)
    engine = max(run.record.spec.engine for run in known)
    images: dict[tuple[str, int], dict[str, tuple[bool, int]]] = defaultdict(dict)
    for spec in (run.record.spec for run in known):
        widest = images[spec.attack.name, spec.attack.version]
        vote = (spec.on_protocol and spec.engine == engine, spec.samples.count)
        widest[spec.model.name] = max(vote, widest.get(spec.model.name, (False, 0)))

    def support(version: tuple[str, int]) -> tuple[int, int]:
        return sum(count for fit, count in images[version].values() if fit), version[1]

    return Edition(engine, dict(sorted(images, key=support)))


def newest_weights(runs: Iterable[StoredRun]) -> str:
    """Return the checksum of a model's newest weights: the entry's date decides, then the run's."""
    newest = max(runs, key=lambda run: (run.record.entry.added, run.record.environment.started, run.record.run_id))
    return newest.record.spec.model.weights_sha256


def of_weights(runs: Iterable[StoredRun], weights: str) -> list[StoredRun]:
    """Return the runs of one network."""
    return [run for run in runs if run.record.spec.model.weights_sha256 == weights]
