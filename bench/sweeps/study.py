"""The pieces of a study, by the workers of an executor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from bench import registry
from bench.core.compute.machine import hardware
from bench.core.compute.rng import Rng
from bench.core.contracts import Executor, Hire
from bench.core.contracts.study import Finding, Study, Workplace
from bench.core.errors import IntegrityError, UsageError
from bench.core.schemas.protocol import Component
from bench.core.schemas.study import Card, Key, StudyRecord, StudySpec
from bench.core.schemas.units import PieceUnit, Unit
from bench.core.storage.files import canonical_json, sha256_of
from bench.core.storage.lease import lease
from bench.core.storage.studies import StoredPiece, StudyStore, lossless
from bench.run.record.environment import surroundings
from bench.sweeps.rounds import rounds
from bench.sweeps.sweep import Failure, Watcher
from bench.sweeps.worker import UnitWorker


class Plan(NamedTuple):
    """A study and its pieces, the most important first."""

    card: Card
    pieces: list[PieceUnit]

    def left(self, store: StudyStore) -> list[PieceUnit]:
        """Return the pieces without a record."""
        return [piece for piece in self.pieces if not store.path(piece.spec).exists()]


class Outcome(NamedTuple):
    """The result of a study."""

    finished: list[StoredPiece]
    failures: list[Failure]


def plan(name: str, params: dict[str, Any], limit: int | None = None) -> Plan:
    """Return the pieces of a study, or the first `limit` of them.

    Raises:
        UsageError: if a name, a parameter or the limit is wrong.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"expected a --limit of at least 1 piece, got {limit}")
    study = _study(name, params)
    units = [PieceUnit(params=params, spec=_spec(name, study, piece)) for piece in study.pieces()[:limit]]
    return Plan(study.card, units)


def complete(planned: Plan, store: StudyStore, work: Path, executor: Executor, watcher: Watcher) -> Outcome:
    """Measure the pieces that have no record, as far as possible.

    Args:
        planned: the study.
        store: the folder of its records.
        work: the folder of unfinished work.
        executor: does the pieces with its workers.
        watcher: shows the progress.
    Returns:
        The finished pieces in the order of the plan, and the failures. A failure does not stop other pieces.
    """
    store.prepare(planned.card)
    left, failures, total = planned.left(store), list[Failure](), len(planned.pieces)
    watcher.start(planned.card.key, total, total - len(left))

    def workers(patient: bool) -> Hire:
        return partial(PieceWorker, store.root.parent, work, patient)

    for report in rounds(left, executor, workers, watcher.advance):
        if report.kind == "failed":
            failures.append(Failure(report.unit.name, report.text))
            watcher.say(f"{report.unit.name} failed: {report.text}")
        elif report.kind == "note":
            watcher.say(f"{report.unit.name}: {report.text}")
    found = [store.find(piece.spec) for piece in planned.pieces]
    return Outcome([piece for piece in found if piece is not None], failures)


class PieceWorker(UnitWorker):
    """A worker that measures pieces of studies.

    Args:
        results: the folder of results.
        work: the folder of unfinished work.
        patient: whether to wait if another process works on a piece.
        device: the device to compute on.
    """

    def __init__(self, results: Path, work: Path, patient: bool, device: str) -> None:
        super().__init__(device)
        self._store, self._work, self._patient = StudyStore(results), work, patient

    def _complete(self, unit: Unit) -> None:
        assert isinstance(unit, PieceUnit)
        spec, study = unit.spec, _study(unit.spec.study, unit.params)
        if (came := _spec(spec.study, study, spec.piece)).id != spec.id:
            raise IntegrityError(
                f"expected {unit.name} to be the piece {spec.id[:12]}, got {came.id[:12]}; its networks or this code "
                "changed since the study began: begin it again"
            )
        folder = self._work / "studies" / spec.key
        with lease(folder / f"{spec.id[:12]}.lease", self._teller.beat if self._patient else None):
            if self._store.find(spec) is None:
                self._measure(study, spec, folder)

    def _measure(self, study: Study, spec: StudySpec, cache: Path) -> None:
        started, clock = datetime.now(UTC), time.monotonic()
        rng = Rng(0).fork("study", spec.study, spec.version, canonical_json(spec.piece))
        finding = study.measure(spec.piece, Workplace(self._device, cache, rng, self._teller.beat))
        _refuse_unknown_figures(finding, study.card)
        pictures = {name: lossless(content) for name, content in sorted(finding.pictures.items())}
        record = StudyRecord(
            spec=spec,
            points=tuple(finding.points),
            numbers=finding.numbers,
            pictures={name: sha256_of(content) for name, content in pictures.items()},
            rows=tuple(finding.rows),
            environment=surroundings(self._device, hardware(), started),
            seconds=round(time.monotonic() - clock, 2),
            id=spec.id,
        )
        self._store.write(record, pictures)


def _study(name: str, params: dict[str, Any]) -> Study:
    study: Study = registry.instantiate("studies", Component(name=name, params=params))
    return study


def _spec(name: str, study: Study, piece: Key) -> StudySpec:
    dumped = TypeAdapter(type(study)).dump_python(study, mode="json")
    params = {field.name: dumped[field.name] for field in fields(study) if field.name not in study.selects}  # type: ignore[arg-type]
    weights = {model: registry.load("models", model).weights.sha256 for model in study.models(piece)}
    return StudySpec(study=name, version=study.version, params=params, piece=piece, models=weights)


def _refuse_unknown_figures(finding: Finding, card: Card) -> None:
    known = {figure.name for figure in card.figures}
    if unknown := sorted({point.figure for point in finding.points} - known):
        raise UsageError(
            f"expected points of the figures {', '.join(sorted(known))} of {card.key}, got {', '.join(unknown)}; "
            "correct the study"
        )


def seconds_of(pieces: Sequence[StoredPiece]) -> float | None:
    """Return the mean seconds of finished pieces, or None."""
    return sum(piece.record.seconds for piece in pieces) / len(pieces) if pieces else None
