"""Computes runs, from model, attack and protocol to record and rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import pandas as pd

from bench import registry
from bench.core.errors import IntegrityError
from bench.core.schemas.flags import Evidence
from bench.core.schemas.records import Environment, Flag, RunRecord
from bench.core.storage.files import sha256_of
from bench.core.storage.lease import patient
from bench.core.storage.store import Store, rows_to_parquet
from bench.core.storage.stored_run import StoredRun
from bench.images.source import classes_of
from bench.run.execution import Execution, Observer
from bench.run.plan import Plan, resolve_models, specify
from bench.run.record import soundness
from bench.run.record.environment import describe
from bench.run.record.showcase import sheet
from bench.run.record.summary import summarise
from bench.run.request import Request, parse
from bench.run.session import Cache, Session
from bench.run.setup import set_up
from bench.run.shards import Shards


def run(
    requests: Sequence[Request],
    execution: Execution,
    observer: Observer,
    *,
    cache: Cache | None = None,
    report: Callable[[Sequence[StoredRun]], None] | None = None,
) -> list[StoredRun]:
    """Return the completed runs of one model, in eight steps.

    The first three steps are taken for all requests before the first run starts: a wrong name in the last request is an
    error at once. A run that the store has is not computed again. A run is compared with the first one, the floor.

    Args:
        requests: the wanted runs of one model, the floor first.
        execution: where and how to compute.
        observer: shows the progress.
        cache: networks, images and clean results of earlier runs.
        report: shows the finished runs, or builds their pages; None shows nothing.
    Returns:
        The stored records with their rows, in the order of the requests.
    Raises:
        UsageError: if a name, a key or a value is unknown or not allowed.
        NetworkError: if weights or images cannot be downloaded.
        BenchError: if data, weights or model are not valid; finished shards are kept and used next time.
    """
    cache = cache or Cache()
    parsed = [parse(request) for request in requests]  # 1. look up names, check values
    models = [resolve_models(each) for each in parsed]  # 2. find the weights and verify them
    plans = [specify(*each) for each in zip(parsed, models, strict=True)]  # 3. write down every value: the run's id
    finished: list[StoredRun] = []
    for plan in plans:
        if (stored := execution.store.find(plan.spec)) is None:
            started = begin(plan, execution)
            samples = cache.samples(plan)  # 4. load the images
            setup = set_up(plan, samples, execution, cache.networks, observer)  # 5. build networks, attack and metrics
            Session(plan, setup, samples, execution, observer=observer, cache=cache).complete_all()  # 6. attack, judge
            stored = file(plan, execution, started, _floor(plan, finished))  # 7. find flags, write the record
        finished.append(stored)
    if report is not None:
        report(finished)  # 8. show the runs; `bench leaderboard build` makes boards of many
    return finished


def begin(plan: Plan, execution: Execution) -> datetime:
    """Return the time at which a run begins.

    Raises:
        EnvironmentFault: if its folder cannot be written.
    """
    execution.store.prepare(plan.spec)
    return datetime.now(UTC)


def _floor(plan: Plan, finished: Sequence[StoredRun]) -> StoredRun | None:
    """Return the first run, if the threat model was the same."""
    return finished[0] if finished and finished[0].record.spec.threat == plan.spec.threat else None


def file(plan: Plan, execution: Execution, started: datetime, floor: StoredRun | None) -> StoredRun:
    """Return a run with finished shards, summarised and stored.

    If another process has just stored it, that run is returned.

    Raises:
        IntegrityError: if a shard is missing or damaged.
    """
    shards = Shards(plan.spec, execution.work)
    with execution.store.filing(plan.spec, patient):
        if (finished := execution.store.find(plan.spec)) is not None:
            return finished
        count = len(plan.shard_sizes)
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
