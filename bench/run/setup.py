"""Builds the networks, attack and metrics of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from torch import Tensor, nn

from bench import registry
from bench.core.compute.machine import pick_device
from bench.core.compute.rng import Rng, SampleRng
from bench.core.contracts import Attack, Metric
from bench.core.schemas.protocol import Component, HeatmapRule, SearchPrecision, ThreatModel
from bench.core.schemas.spec import PluginSpec
from bench.images.source import source_of
from bench.run.attack.memory import Room, least_nodes, nodes_within, usual_budget
from bench.run.attack.victim import StandIn
from bench.run.attack.views import Explainer
from bench.run.execution import Execution, Observer
from bench.run.plan import Plan
from bench.run.samples import NO_IMAGES, Library, Samples
from model_zoo.build import build
from model_zoo.derivatives.compiled import Compiled
from model_zoo.derivatives.differenced import Differenced
from model_zoo.derivatives.prepare import attackable
from model_zoo.logits import check_logits, unsquashed
from model_zoo.weights_file import Resolved

Result = TypeVar("Result")


@dataclass(frozen=True)
class Setup:
    """The networks, attack, metrics and rules of a run."""

    model: nn.Module
    smooth: nn.Module
    attack: Attack
    threat: ThreatModel
    search: Explainer
    judge: Explainer
    metrics: dict[str, Metric]
    primary: str
    explain_predicted: bool
    rng: Rng
    device: torch.device
    top_k: int
    library: Library = NO_IMAGES
    """The clean images of the protocol, which every attack may see."""
    other: StandIn | None = None
    """Source and attack of a transferred attack."""
    room: Room | None = None
    """The memory budget; None if memory is not limited."""
    precision: SearchPrecision = "float32"
    """Precision of the search. The judge always uses float32."""

    outlined: bool = False
    """Whether pages show outlines in place of the images."""

    def within_memory(self, work: Callable[[], Result]) -> Result:
        """Return the result of a piece of work within the memory budget."""
        return work() if self.room is None else self.room.give(work)

    @property
    def reads_maps(self) -> bool:
        """Return whether any metric looks at attributions or heatmaps.

        If not, none are made.
        """
        return any(metric.reads_maps for metric in self.metrics.values())

    def explained(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(N,) int64: the class whose logit is explained."""
        return logits.argmax(1) if self.explain_predicted else labels.to(logits.device)

    def attack_rng(self, ids: tuple[str, ...]) -> SampleRng:
        """Return the random streams of the attack on samples."""
        return SampleRng(self.rng.fork("attack"), ids)

    def attribution_rng(self, ids: tuple[str, ...]) -> SampleRng:
        """Return the random streams of the attributions of samples."""
        return SampleRng(self.rng.fork("attribution"), ids)


@dataclass
class Networks:
    """The last two networks that a process built."""

    _kept: dict[tuple[object, ...], tuple[nn.Module, nn.Module]] = field(default_factory=dict)

    def of(self, plan: Plan, resolved: Resolved, images: Tensor, *, compiled: bool) -> tuple[nn.Module, nn.Module]:
        """Return a model and its smooth surrogate, both checked.

        The check calls them with the first of the images. The surrogate may be compiled.
        """
        entry, spec, device = resolved.entry, plan.spec, images.device
        key = (entry.model_dump_json(), spec.precision, spec.surrogate.beta, spec.threat, device, compiled)
        if key not in self._kept:
            if len(self._kept) > 1:  # the attacked network and a source network
                self._kept.clear()
            model = build(entry, registry.load("architectures", entry.architecture.name), resolved.path, device=device)
            if spec.precision == "float64":
                model = model.double()
            check_logits(model, images[:2], entry.num_classes)
            model = unsquashed(model, images[:2])
            # Not on CPUs: layers there exchange data through caches, and records must keep every bit.
            fuse = device.type == "cuda" and not compiled
            smooth = attackable(model, spec.surrogate.beta, images, spec.threat, fuse=fuse)
            if compiled and not isinstance(smooth, Differenced):
                smooth = Compiled(smooth)
            self._kept[key] = model, smooth
        return self._kept[key]


def set_up(plan: Plan, samples: Samples, execution: Execution, networks: Networks, observer: Observer) -> Setup:
    """Return a run's setup with a measured memory budget.

    The networks are called once, to check them.

    Args:
        plan: the run.
        samples: all samples of the protocol.
        execution: where and how to compute.
        networks: the networks of earlier runs.
        observer: gets a message if the memory is too small.
    Raises:
        BenchError: if the weights or the model are not valid.
    """
    setup = assemble(plan, execution.device, samples, networks, compiled=execution.compiled)
    if isinstance(setup.smooth, Differenced):
        observer.say(
            f"{setup.smooth.reason}. Attacks take differences of the network's gradient; the run does not rank"
        )
    return replace(setup, room=_room(setup, execution, samples.images[:1].to(setup.device), observer))


def assemble(plan: Plan, device_name: str, samples: Samples, networks: Networks, *, compiled: bool = False) -> Setup:
    """Return the networks and plug-ins of a plan, without a memory budget.

    `samples` are all of the protocol's.
    """
    spec, device = plan.spec, pick_device(device_name)
    images = samples.images.to(device)
    model, smooth = networks.of(plan, plan.model, images, compiled=compiled)
    metrics = {m.column: registry.instantiate("metrics", m) for m in plan.protocol.metrics}
    top_k = [m.params["k"] for m in spec.metrics if "k" in m.params]
    return Setup(
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
        library=Library(samples.ids, images, Rng(spec.seed).fork("partners")),
        other=_stand_in(plan, images, networks, compiled),
        precision=spec.surrogate.precision,
        outlined=not source_of(plan.protocol.samples).shows_images,
    )


def _room(setup: Setup, execution: Execution, image: Tensor, observer: Observer) -> Room:
    """Return how many nodes of the networks fit into a run's memory."""
    budget = usual_budget(setup.device) if execution.memory is None else execution.memory
    attacked = [setup.smooth, *([] if setup.other is None else [setup.other.smooth])]
    nodes = min(nodes_within(budget, network, image) for network in attacked)
    if nodes < (least := least_nodes(image)):
        observer.say(f"a memory of {budget} bytes holds no {least} nodes, the fewest: on with {least} at once")
    if setup.device.type == "cpu" and least == 1:  # caches hold no second image's graph
        nodes = min(nodes, setup.search.method.nodes_per_image)
    return Room(setup.device, max(nodes, least), observer.say)


def _searcher(attribution: PluginSpec, heatmap: HeatmapRule) -> Explainer:
    component = Component(name=attribution.name, params=attribution.params)
    return Explainer(registry.instantiate("attributions", component), heatmap)


def _stand_in(plan: Plan, images: Tensor, networks: Networks, compiled: bool) -> StandIn | None:
    if plan.source is None or plan.source_attack is None or plan.spec.crafted_on is None:
        return None
    model, smooth = networks.of(plan, plan.source, images, compiled=compiled)
    search = _searcher(plan.spec.crafted_on.search_attribution, plan.spec.heatmap)
    return StandIn(model, smooth, search, plan.source_attack)
