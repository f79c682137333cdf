"""One process at work on one run: networks in memory, samples in shards, finished shards on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol as Interface

import torch
from torch import Tensor, nn

from bench import registry
from bench.core.compute.chunks import CPU_NODES_IN_FLIGHT
from bench.core.compute.machine import hardware, pick_device
from bench.core.compute.rng import Rng
from bench.core.contracts import Dataset
from bench.core.schemas.protocol import Component, HeatmapRule
from bench.core.schemas.records import PluginSpec
from bench.core.storage.store import Store
from bench.run.attack.memory import Room, available, least_nodes, nodes_within
from bench.run.attack.search import Attacked, Bench, attack_shard
from bench.run.attack.victim import StandIn
from bench.run.attack.views import Explainer
from bench.run.judge.measure import Clean, look, measure_shard
from bench.run.plan import Plan
from bench.run.samples import Samples, load_samples
from bench.run.shards import Effort, Shards
from model_zoo.build import build, check_logits
from model_zoo.derivatives.compiled import Compiled
from model_zoo.derivatives.fused import fused
from model_zoo.derivatives.surrogate import check_activations, smooth_copy
from model_zoo.weights_file import Resolved

GPU_BATCH = 256
"""Images that an attack sees at once on a GPU where nobody says: fewer do not fill it."""


@dataclass(frozen=True)
class Execution:
    """How a run is computed: nothing here may change a number."""

    store: Store
    work: Path
    """Folder of unfinished work: finished shards wait there until their run is complete."""
    device: str = "auto"
    batch_size: int | None = None
    """Images that an attack sees at once; by default 40 on a CPU, 256 on a GPU."""
    showcase: bool = True
    """Whether images are kept for the pages."""
    memory: int | None = None
    """Bytes that graphs for derivatives may take; by default most of what is free."""
    compiled: bool = False
    """Whether searches' derivatives are compiled first: like another device, it rounds differently."""

    def together(self, shards: int, size: int) -> Iterator[range]:
        """Yield so many shards of so many images in order, those together that fill a batch of a GPU.

        On a CPU, which few images fill, each is alone, so that little is lost with a process.
        """
        on_gpu = pick_device(self.device).type == "cuda"
        step = max(1, (self.batch_size or GPU_BATCH) // size) if on_gpu else 1
        for start in range(0, shards, step):
            yield range(start, min(start + step, shards))


class Observer(Interface):
    """Whoever shows the progress of a run."""

    def start(self, title: str, total: int, done: int) -> None:
        """Begin a run of `total` images, `done` of which earlier sittings finished."""

    def advance(self, images: int) -> None:
        """Count so many more images as finished."""

    def say(self, text: str) -> None:
        """Show a remark."""


@dataclass
class Workbench:
    """What a process keeps from one run to the next.

    The last two networks, the images of the last protocol, and what the judge found of them before any attack.
    """

    _networks: dict[tuple[object, ...], tuple[nn.Module, nn.Module]] = field(default_factory=dict)
    _images: dict[tuple[object, ...], Samples] = field(default_factory=dict)
    _clean: dict[tuple[object, ...], dict[tuple[str, ...], Clean]] = field(default_factory=dict)

    def networks(
        self, plan: Plan, resolved: Resolved, device: torch.device, *, compiled: bool
    ) -> tuple[nn.Module, nn.Module]:
        """Return a model and its smooth copy, which is to be compiled or not."""
        entry, spec = resolved.entry, plan.spec
        key = (entry.model_dump_json(), spec.precision, spec.surrogate.beta, device, compiled)
        if key not in self._networks:
            if len(self._networks) > 1:  # one to attack, one to craft on
                self._networks.clear()
            model = build(entry, registry.load("architectures", entry.architecture.name), resolved.path, device=device)
            if spec.precision == "float64":
                model = model.double()
            smooth = smooth_copy(model, spec.surrogate.beta)
            if compiled:
                smooth = Compiled(smooth)
            elif device.type == "cuda":  # on CPUs caches hold what passes from layer to layer, and records keep bits
                smooth = fused(smooth)
            self._networks[key] = model, smooth
        return self._networks[key]

    def samples(self, plan: Plan) -> Samples:
        """Return all of the protocol's samples."""
        wanted, key = plan.protocol.samples, (plan.protocol.samples.model_dump_json(), plan.spec.precision)
        if key not in self._images:
            self._images.clear()
            dataset: Dataset = registry.instantiate("datasets", Component(name=wanted.source))
            samples = load_samples(wanted, dataset)
            double = plan.spec.precision == "float64"
            self._images[key] = samples._replace(images=samples.images.double()) if double else samples
        return self._images[key]

    def clean(self, plan: Plan, bench: Bench, samples: Samples) -> Clean:
        """Return what the judge finds of clean images."""
        key = (plan.spec.clean_id, plan.spec.attack.name if bench.judge.method.random else None, bench.device)
        if key not in self._clean:
            self._clean = {key: {}}
        known = self._clean[key]
        if samples.ids not in known:
            known[samples.ids] = look(bench, samples)
        return known[samples.ids]


class Sitting:
    """The shards of a run, and what completes them.

    Args:
        plan: the run.
        execution: where and how.
        observer: told of progress.
        workbench: what this process keeps from earlier runs.
    Raises:
        BenchError: if data, weights or model are not as they must be.
    """

    def __init__(self, plan: Plan, execution: Execution, observer: Observer, workbench: Workbench) -> None:
        everything = workbench.samples(plan)
        samples = everything.part(slice(plan.spec.samples.count))
        bench = set_up(plan, execution.device, everything.images, workbench, compiled=execution.compiled)
        check_logits(bench.model, samples.images[:2].to(bench.device), plan.model.entry.num_classes)
        check_activations(bench.smooth, samples.images[:1].to(bench.device))
        self.bench = replace(bench, room=_room(bench, execution, samples.images, observer))
        self.parts = samples.split(plan.protocol.shard_size)
        self.shards = Shards(plan.spec, execution.work)
        self._plan, self._workbench, self._observer = plan, workbench, observer
        self._device = f"{bench.device.type}, compiled" if execution.compiled else bench.device.type
        self._batch_size = execution.batch_size or (
            CPU_NODES_IN_FLIGHT if self.bench.device.type == "cpu" else GPU_BATCH
        )
        self._showcase = _showcase(plan) if execution.showcase else frozenset()
        self._found = {index for index in range(len(self.parts)) if self.shards.is_attacked(index)}

    @property
    def done(self) -> int:
        """How many images are attacked, by earlier sittings and this one."""
        return sum(len(self.parts[index].ids) for index in self._found)

    def complete(self, indices: Iterable[int], waiting: Callable[[], None] | None) -> None:
        """See to it that shards are attacked and measured.

        Args:
            indices: which shards, in ascending order; those that lack something are worked at together.
            waiting: called again and again while another process is at one of them; None, and nobody waits.
        Raises:
            Busy: if another process is at one of these shards and nobody waits.
            BenchError: if the model answers nonsense, or there is no room for the answer.
        """
        with ExitStack() as held:
            for index in indices:
                held.enter_context(self.shards.lease(index, waiting))
            attacked = self._attack(indices)
            self._measure({index: each for index, each in attacked.items() if not self.shards.is_measured(index)})

    def _attack(self, indices: Iterable[int]) -> dict[int, Attacked]:
        """Return what the attack made of each shard."""
        kept = {index: self.shards.attacked(index, len(self.parts[index].ids)) for index in indices}
        done = {index: each for index, each in kept.items() if each is not None}
        for index in done.keys() - self._found:
            self._observer.advance(len(self.parts[index].ids))
        left = [index for index in kept if index not in done]
        if left:
            clock, batch = time.monotonic(), Samples.joined([self.parts[index] for index in left])
            found = attack_shard(self.bench, batch, self._batch_size, self._observer.advance)
            for index, rows in self._rows(left):
                done[index] = found.part(rows)
                self.shards.keep_attacked(index, done[index], self._effort(clock, len(left)))
        self._found |= done.keys()
        return done

    def _measure(self, attacked: dict[int, Attacked]) -> None:
        """Judge shards and keep their rows."""
        if not attacked:
            return
        clock, batch = time.monotonic(), Samples.joined([self.parts[index] for index in attacked])
        clean = self._workbench.clean(self._plan, self.bench, batch)
        table = measure_shard(self.bench, batch, Attacked.joined(list(attacked.values())), self._showcase, clean)
        for index, rows in self._rows(attacked):
            own = table.iloc[rows].reset_index(drop=True)
            self.shards.keep_measured(index, own, self._effort(clock, len(attacked)))

    def _rows(self, indices: Iterable[int]) -> Iterator[tuple[int, slice]]:
        """Yield shards with the places of their samples among those of all."""
        start = 0
        for index in indices:
            yield index, slice(start, start := start + len(self.parts[index].ids))

    def _effort(self, since: float, shards: int) -> Effort:
        """Return what one of some shards took."""
        return Effort((time.monotonic() - since) / shards, self._device, hardware(), self._batch_size)


def set_up(plan: Plan, device_name: str, images: Tensor, workbench: Workbench, *, compiled: bool = False) -> Bench:
    """Build networks and plug-ins of a plan, whose protocol has these (M, C, H, W) images."""
    spec, device = plan.spec, pick_device(device_name)
    model, smooth = workbench.networks(plan, plan.model, device, compiled=compiled)
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
        other=_stand_in(plan, device, workbench, compiled),
        precision=spec.surrogate.precision,
    )


def _room(bench: Bench, execution: Execution, images: Tensor, observer: Observer) -> Room:
    """Find out how many nodes of the networks fit into the memory that a run may take."""
    budget = available(bench.device) if execution.memory is None else execution.memory
    networks = [bench.smooth, *([] if bench.other is None else [bench.other.smooth])]
    nodes = min(nodes_within(budget, network, images[:1].to(bench.device)) for network in networks)
    if nodes < (least := least_nodes(bench.device)):
        observer.say(f"a memory of {budget} bytes holds no {least} nodes, the fewest: on with {least} at once")
    return Room(bench.device, max(nodes, least), observer.say)


def _searcher(attribution: PluginSpec, heatmap: HeatmapRule) -> Explainer:
    component = Component(name=attribution.name, params=attribution.params)
    return Explainer(registry.instantiate("attributions", component), heatmap)


def _stand_in(plan: Plan, device: torch.device, workbench: Workbench, compiled: bool) -> StandIn | None:
    if plan.source is None or plan.source_attack is None or plan.spec.crafted_on is None:
        return None
    model, smooth = workbench.networks(plan, plan.source, device, compiled=compiled)
    search = _searcher(plan.spec.crafted_on.search_attribution, plan.spec.heatmap)
    return StandIn(model, smooth, search, plan.source_attack)


def _showcase(plan: Plan) -> frozenset[str]:
    samples = plan.protocol.samples
    return frozenset(f"{samples.dataset}/{samples.split}/{index}" for index in samples.showcase)
