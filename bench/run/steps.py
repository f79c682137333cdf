"""Computes one run, from model, attack and protocol to record and rows.

A run has eight steps:

1. parse the request: `bench.run.request.parse`
2. resolve the model's name to verified weights: `bench.run.plan.resolve_models`
3. specify every value, whose hash is the run's id: `bench.run.plan.specify`
4. load the samples: `Cache.samples`
5. build networks, attack and measures: `bench.run.build.set_up`
6. attack and judge shard by shard: `Session.complete`
7. check for flags and record: `file`
8. report: `bench leaderboard build`

`plan` of `bench.run.plan` takes the steps 1 to 3, `run` the steps 4 to 7. They are two functions because commands,
audits and sweeps plan all of their runs before the first one starts. A wrong name in the last run is an error at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pandas as pd

from bench import registry
from bench.core.errors import IntegrityError
from bench.core.schemas.flags import Evidence
from bench.core.schemas.records import Environment, Flag, RunRecord
from bench.core.storage.files import sha256_of
from bench.core.storage.store import Store, StoredRun, rows_to_parquet
from bench.images.source import classes_of
from bench.run.build import set_up
from bench.run.cache import Cache
from bench.run.execution import Execution, Observer
from bench.run.plan import Plan
from bench.run.record import soundness
from bench.run.record.environment import describe
from bench.run.record.showcase import sheet
from bench.run.record.summary import summarise
from bench.run.session import Session
from bench.run.shards import Shards


def run(
    plan: Plan, execution: Execution, observer: Observer, floor: StoredRun | None = None, cache: Cache | None = None
) -> StoredRun:
    """Return a completed run, computed now unless the store has it.

    These are steps 4 to 7; `bench.run.plan.plan` does the first three.

    Args:
        plan: what to run.
        execution: where and how to compute.
        observer: shows the progress.
        floor: the floor attack's run on the same samples, for the soundness flags.
        cache: networks, images and clean results of earlier runs.
    Returns:
        The stored record with its rows.
    Raises:
        BenchError: if data, weights or model are not valid; finished shards are kept and used next time.
    """
    if (finished := execution.store.find(plan.spec)) is not None:
        return finished
    execution.store.prepare(plan.spec)
    started, cache = datetime.now(UTC), cache or Cache()
    samples = cache.samples(plan)
    setup = set_up(plan, execution, samples, cache, observer)
    session = Session(plan, setup, samples, execution, observer=observer, cache=cache)
    observer.start(f"{plan.spec.model.name} under {plan.spec.attack.name}", plan.spec.samples.count, session.done)
    for indices in execution.together(len(session.parts), plan.protocol.shard_size):
        session.complete(indices, _patient)
    return file(plan, execution, started, floor)


def run_all(plans: Iterable[Plan], execution: Execution, observer: Observer) -> list[StoredRun]:
    """Return the completed runs of one model, computed one by one.

    The first run is the floor attack, which the flags of the other runs compare with.
    """
    finished: list[StoredRun] = []
    cache = Cache()
    for planned in plans:
        floor = finished[0] if finished else None
        finished.append(run(planned, execution, observer, floor, cache))
    return finished


def file(plan: Plan, execution: Execution, started: datetime, floor: StoredRun | None) -> StoredRun:
    """Return a run with finished shards, summarised and stored.

    If another process has just stored it, that run is returned.

    Raises:
        IntegrityError: if a shard is missing or damaged.
    """
    shards = Shards(plan.spec, execution.work)
    with execution.store.filing(plan.spec, _patient):
        if (finished := execution.store.find(plan.spec)) is not None:
            return finished
        count = len(shard_sizes(plan))
        tables = [rows for index in range(count) if (rows := shards.measured(index)) is not None]
        if len(tables) < count:
            raise IntegrityError(
                f"expected {count} finished shards of {plan.spec.run_id[:12]}, got {len(tables)} whole ones; give the "
                "same command again: it computes the others again"
            )
        table = pd.concat(tables, ignore_index=True)
        beside = None if floor is None else floor.rows()
        found = soundness.flags(Evidence(plan.spec, table, beside, plan.attack.knowledge, plan.model.entry))
        stored = _write(plan, execution.store, table, found, describe(shards.efforts(range(count)), started))
        shards.forget_rows()
    return stored


def shard_sizes(plan: Plan) -> Sequence[int]:
    """Return how many images each shard of a run has."""
    count, size = plan.spec.samples.count, plan.protocol.shard_size
    return [min(size, count - start) for start in range(0, count, size)]


def _patient() -> None:
    """Wait for another process that computes the same thing."""


def _write(
    plan: Plan, store: Store, table: pd.DataFrame, flags: tuple[Flag, ...], environment: Environment
) -> StoredRun:
    spec, rows, shown = plan.spec, table.drop(columns="tiles"), table[table["tiles"].notna()]
    content = rows_to_parquet(rows)
    showcase = sheet(list(shown["tiles"])) if len(shown) else None
    record = RunRecord(
        run_id=spec.run_id,
        spec=spec,
        entry=plan.model.entry,
        summaries=summarise(rows, [metric.name for metric in spec.metrics]),
        samples=len(rows),
        correct=int(rows["correct"].sum()),
        infeasible=int((~rows["feasible"]).sum()),
        flags=flags,
        environment=environment,
        knowledge=plan.attack.knowledge,
        rows_sha256=sha256_of(content),
        classes=classes_of(plan.protocol.samples),
        showcase=tuple(shown["sample_id"]),
        showcase_sha256=None if showcase is None else sha256_of(showcase),
    )
    if plan.protocol.key not in registry.names("protocols"):
        store.keep_protocol(plan.protocol)
    return store.write(record, content, showcase)
