"""Builds the setup of a run, and measures the memory for it."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from bench import registry
from bench.core.compute.machine import pick_device
from bench.core.compute.rng import Rng
from bench.core.schemas.protocol import Component, HeatmapRule
from bench.core.schemas.records import PluginSpec
from bench.images.source import source_of
from bench.run.attack.memory import Room, available, least_nodes, nodes_within
from bench.run.attack.victim import StandIn
from bench.run.attack.views import Explainer
from bench.run.cache import Cache
from bench.run.execution import Execution, Observer
from bench.run.plan import Plan
from bench.run.samples import Samples
from bench.run.setup import Setup
from model_zoo.derivatives.differenced import Differenced


def set_up(plan: Plan, execution: Execution, samples: Samples, cache: Cache, observer: Observer) -> Setup:
    """Return a run's setup with a measured memory budget.

    The networks are called once, to check them.

    Args:
        plan: the run.
        execution: where and how to compute.
        samples: all samples of the protocol.
        cache: keeps networks from one run to the next.
        observer: gets a message if the memory is too small.
    Raises:
        BenchError: if the weights or the model are not valid.
    """
    setup = assemble(plan, execution.device, samples.images, cache, compiled=execution.compiled)
    if isinstance(setup.smooth, Differenced):
        observer.say(f"{setup.smooth.reason}. Attacks take differences of its gradient; the run does not rank")
    return replace(setup, room=_room(setup, execution, samples.images[:1].to(setup.device), observer))


def assemble(plan: Plan, device_name: str, images: Tensor, cache: Cache, *, compiled: bool = False) -> Setup:
    """Return the networks and plug-ins of a plan, without a memory budget.

    `images` are the protocol's, (M, C, H, W).
    """
    spec, device = plan.spec, pick_device(device_name)
    library = images.to(device)
    model, smooth = cache.networks(plan, plan.model, library, compiled=compiled)
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
        library=library,
        other=_stand_in(plan, library, cache, compiled),
        precision=spec.surrogate.precision,
        outlined=not source_of(plan.protocol.samples).shows_images,
    )


def _room(setup: Setup, execution: Execution, image: Tensor, observer: Observer) -> Room:
    """Return how many nodes of the networks fit into a run's memory."""
    budget = available(setup.device) if execution.memory is None else execution.memory
    networks = [setup.smooth, *([] if setup.other is None else [setup.other.smooth])]
    nodes = min(nodes_within(budget, network, image) for network in networks)
    if nodes < (least := least_nodes(setup.device)):
        observer.say(f"a memory of {budget} bytes holds no {least} nodes, the fewest: on with {least} at once")
    return Room(setup.device, max(nodes, least), observer.say)


def _searcher(attribution: PluginSpec, heatmap: HeatmapRule) -> Explainer:
    component = Component(name=attribution.name, params=attribution.params)
    return Explainer(registry.instantiate("attributions", component), heatmap)


def _stand_in(plan: Plan, images: Tensor, cache: Cache, compiled: bool) -> StandIn | None:
    if plan.source is None or plan.source_attack is None or plan.spec.crafted_on is None:
        return None
    model, smooth = cache.networks(plan, plan.source, images, compiled=compiled)
    search = _searcher(plan.spec.crafted_on.search_attribution, plan.spec.heatmap)
    return StandIn(model, smooth, search, plan.source_attack)
