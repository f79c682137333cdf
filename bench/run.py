"""One run: a model, an attack, an attribution method and a protocol go in; a record and rows come out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol as Interface

import pandas as pd
import torch
from torch import Tensor, nn

from bench import checks, registry
from bench.core.contracts import Dataset
from bench.core.files import sha256_of
from bench.core.machine import pick_device
from bench.core.protocol import Component, HeatmapRule
from bench.core.records import Environment, Flag, PluginSpec, RunRecord
from bench.core.rng import Rng
from bench.core.store import Store, StoredRun, rows_to_parquet
from bench.environment import describe
from bench.evaluate import Bench, attack_shard, measure_shard
from bench.memory import Room, available, nodes_within
from bench.plan import Plan
from bench.samples import Samples, load_samples
from bench.shards import Shards
from bench.showcase import sheet
from bench.summary import summarise
from bench.victim import Explainer, StandIn
from model_zoo.build import build, check_logits
from model_zoo.hub import Resolved
from model_zoo.surrogate import check_activations, smooth_copy


@dataclass(frozen=True)
class Execution:
    """How a run is computed: nothing here may change a number."""

    store: Store
    work: Path
    """Folder of unfinished work: finished shards wait there until their run is complete."""
    device: str = "auto"
    batch_size: int | None = None
    """Images that an attack sees at once; by default 16 on a CPU, 64 on a GPU."""
    showcase: bool = True
    """Whether images are kept for the pages."""
    memory: int | None = None
    """Bytes that graphs for derivatives may take; by default most of what is free."""


class Observer(Interface):
    """Whoever shows the progress of a run."""

    def start(self, title: str, total: int, done: int) -> None:
        """Begin a run of `total` images, `done` of which earlier sittings finished."""

    def advance(self, images: int) -> None:
        """Count so many more images as finished."""

    def say(self, text: str) -> None:
        """Show a remark."""


def run(plan: Plan, execution: Execution, observer: Observer, floor: StoredRun | None = None) -> StoredRun:
    """Complete a run, or return it at once if the store has it.

    Args:
        plan: what to run.
        execution: where and how.
        observer: told of progress.
        floor: the protocol's floor attack on the same samples, which soundness checks compare with.
    Returns:
        The stored record with its rows.
    Raises:
        BenchError: if data, weights or model are not as they must be; finished shards stay and are used next time.
    """
    if (finished := execution.store.find(plan.spec)) is not None:
        return finished
    execution.store.prepare(plan.spec)
    everything, started = _samples(plan), datetime.now(UTC)
    bench, samples = set_up(plan, execution.device, everything.images), everything.part(slice(plan.spec.samples.count))
    check_logits(bench.model, samples.images[:2].to(bench.device), plan.model.entry.num_classes)
    check_activations(bench.smooth, samples.images[:1].to(bench.device))
    bench = replace(bench, room=_room(bench, execution, samples.images, observer))
    batch_size = execution.batch_size or (16 if bench.device.type == "cpu" else 64)
    parts, shards = samples.split(plan.protocol.shard_size), Shards(plan.spec, execution.work)
    done = shards.count_done([len(part.ids) for part in parts])
    observer.start(f"{plan.spec.model.name} under {plan.spec.attack.name}", len(samples.ids), done)
    tables = []
    for index, part in enumerate(parts):
        attacked = shards.attacked(index, len(part.ids))
        if attacked is None:
            clock = time.monotonic()
            attacked = attack_shard(bench, part, batch_size, observer.advance)
            shards.keep_attacked(index, attacked, time.monotonic() - clock)
        rows = shards.measured(index)
        if rows is None:
            clock = time.monotonic()
            rows = measure_shard(bench, part, attacked, _showcase(plan) if execution.showcase else frozenset())
            shards.keep_measured(index, rows, time.monotonic() - clock)
        tables.append(rows)
    environment = describe(bench.device, batch_size, started, shards.seconds)
    table = pd.concat(tables, ignore_index=True)
    found = checks.flags(plan.spec, table, None if floor is None else floor.rows())
    stored = _file(plan, execution.store, table, found, environment)
    shards.forget_rows()
    return stored


def set_up(plan: Plan, device_name: str, images: Tensor) -> Bench:
    """Build networks and plug-ins of a plan, whose protocol has these (M, C, H, W) images."""
    spec, device = plan.spec, pick_device(device_name)
    model, smooth = _networks(plan, plan.model, device)
    metrics = {m.name: registry.instantiate("metrics", m) for m in plan.protocol.metrics}
    top_k = [m.params["k"] for m in spec.metrics if "k" in m.params]
    return Bench(
        model=model,
        smooth=smooth,
        attack=plan.attack,
        threat=spec.threat,
        search=_searcher(spec.search_attribution, spec.heatmap),
        judge=Explainer(registry.instantiate("attributions", plan.protocol.attribution), spec.heatmap),
        metrics=metrics,
        primary=spec.primary_metric,
        explain_predicted=spec.explain == "predicted-class",
        rng=Rng(spec.seed).fork(spec.attack.name),
        device=device,
        top_k=top_k[0] if top_k else 100,
        library=images.to(device),
        other=_stand_in(plan, device),
    )


def _room(bench: Bench, execution: Execution, images: Tensor, observer: Observer) -> Room:
    """Find out how many nodes of the networks fit into the memory that a run may take."""
    budget = execution.memory or available(bench.device)
    networks = [bench.smooth, *([] if bench.other is None else [bench.other.smooth])]
    nodes = min(nodes_within(budget, network, images[:1].to(bench.device)) for network in networks)
    return Room(bench.device, nodes, observer.say)


def _networks(plan: Plan, resolved: Resolved, device: torch.device) -> tuple[nn.Module, nn.Module]:
    """Return a model and its smooth copy."""
    network = registry.load("architectures", resolved.entry.architecture.name)
    model = build(resolved.entry, network, resolved.path, device=device)
    if plan.spec.precision == "float64":
        model = model.double()
    return model, smooth_copy(model, plan.spec.surrogate.beta)


def _searcher(attribution: PluginSpec, heatmap: HeatmapRule) -> Explainer:
    component = Component(name=attribution.name, params=attribution.params)
    return Explainer(registry.instantiate("attributions", component), heatmap)


def _stand_in(plan: Plan, device: torch.device) -> StandIn | None:
    if plan.source is None or plan.source_attack is None or plan.spec.crafted_on is None:
        return None
    model, smooth = _networks(plan, plan.source, device)
    search = _searcher(plan.spec.crafted_on.search_attribution, plan.spec.heatmap)
    return StandIn(model, smooth, search, plan.source_attack)


def _samples(plan: Plan) -> Samples:
    """Return all of the protocol's samples."""
    wanted = plan.protocol.samples
    dataset: Dataset = registry.instantiate("datasets", Component(name=wanted.source))
    samples = load_samples(wanted, dataset)
    if plan.spec.precision == "float64":
        return samples._replace(images=samples.images.double())
    return samples


def _showcase(plan: Plan) -> frozenset[str]:
    samples = plan.protocol.samples
    return frozenset(f"{samples.dataset}/{samples.split}/{index}" for index in samples.showcase)


def _file(
    plan: Plan, store: Store, table: pd.DataFrame, flags: tuple[Flag, ...], environment: Environment
) -> StoredRun:
    """Summarise and store a complete run."""
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
        classes=registry.load("datasets", plan.protocol.samples.source).classes,
        showcase=tuple(shown["sample_id"]),
        showcase_sha256=None if showcase is None else sha256_of(showcase),
    )
    return store.write(record, content, showcase)
