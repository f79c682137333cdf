"""Turns a request into the full spec of a run.

Its steps are parse, resolve and specify.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from bench import registry
from bench.core.contracts import Attack, AttributionMethod, Metric
from bench.core.errors import UsageError
from bench.core.schemas.announced import Announced
from bench.core.schemas.protocol import Component, Measure, Protocol
from bench.core.schemas.spec import (
    AttackSpec,
    CraftSpec,
    MetricSpec,
    ModelSpec,
    PluginSpec,
    ProtocolSpec,
    RunSpec,
    SamplesSpec,
)
from bench.run.fit import refuse_misfit
from bench.run.request import Parsed, Request, parse
from model_zoo.hub import full, resolve
from model_zoo.weights_file import Resolved

ENGINE = 3
"""Part of every run's identity; raised when a change of the attack's loop, of the judge or of the victim may change a
number or a flag."""


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start.

    It has the spec, which is its identity, and the loaded parts that the spec names.
    """

    spec: RunSpec
    protocol: Protocol
    model: Resolved
    attack: Attack
    source: Resolved | None = None
    """The source of a transferred attack."""
    source_attack: Attack | None = None

    @property
    def shard_sizes(self) -> Sequence[int]:
        """Return how many images each shard has."""
        count, size = self.spec.samples.count, self.protocol.shard_size
        return [min(size, count - start) for start in range(0, count, size)]


def plan(request: Request) -> Plan:
    """Return the plan of one request.

    It takes the first three steps of `bench.run.steps.run`. Sweeps need it, because their workers take the others.

    Raises:
        UsageError: if a name, a key or a value is unknown or not allowed.
        IntegrityError: if the model's weights are not the promised bytes.
        NetworkError: if the model's weights cannot be downloaded.
    """
    parsed = parse(request)
    return specify(parsed, resolve_models(parsed))


class Models(NamedTuple):
    """The models of a run, with verified weights."""

    attacked: Resolved
    source: Resolved | None
    """The source of a transferred attack."""


def resolve_models(parsed: Parsed) -> Models:
    """Return the models of a request, with verified weights."""
    model = _resolve(full(parsed.request.model), parsed.protocol)
    craft = parsed.attack.crafted_on
    return Models(model, None if craft is None else _resolve(craft.model, parsed.protocol))


def specify(parsed: Parsed, models: Models) -> Plan:
    """Return the plan with every value of the run in its spec."""
    protocol, attack, (model, source) = parsed.protocol, parsed.attack, models
    search = _search_attribution(attack, protocol, parsed.request.nodes)
    as_written = (
        parsed.component in protocol.attacks,
        parsed.threat == protocol.threat,
        parsed.surrogate == protocol.surrogate,
        search == _search_attribution(attack, protocol, None),
    )
    spec = RunSpec(
        engine=ENGINE,
        protocol=ProtocolSpec(
            name=protocol.name,
            version=protocol.version,
            sha256=protocol.sha256,
            rankable=protocol.rankable,
            floor=protocol.floor,
            reference=protocol.reference,
            track=protocol.track,
        ),
        model=_model_spec(model),
        attack=AttackSpec(**_plugin_spec(parsed.component.name, attack).model_dump()),
        threat=parsed.threat,
        attribution=_specify("attributions", protocol.attribution),
        search_attribution=search,
        surrogate=parsed.surrogate,
        explain=protocol.explain,
        heatmap=protocol.heatmap,
        metrics=tuple(_metric_spec(metric) for metric in protocol.metrics),
        primary_metric=protocol.primary_metric,
        samples=_samples_spec(parsed.request, protocol),
        seed=protocol.seed,
        precision=protocol.precision,
        on_protocol=all(as_written),
        crafted_on=_craft_spec(attack, source, parsed.source_attack, protocol),
    )
    return Plan(spec, protocol, model, attack, source, parsed.source_attack)


def _resolve(reference: str, protocol: Protocol) -> Resolved:
    resolved = resolve(reference, partial(refuse_misfit, protocol))
    refuse_misfit(protocol, resolved.entry.name, Announced(resolved.entry.dataset))
    return resolved


def _craft_spec(
    attack: Attack, source: Resolved | None, source_attack: Attack | None, protocol: Protocol
) -> CraftSpec | None:
    if attack.crafted_on is None or source is None or source_attack is None:
        return None
    return CraftSpec(
        model=_model_spec(source),
        attack=_plugin_spec(attack.crafted_on.attack.name, source_attack),
        search_attribution=_search_attribution(source_attack, protocol, None),
    )


def _search_attribution(attack: Attack, protocol: Protocol, nodes: int | None) -> PluginSpec:
    component = attack.search_attribution or _searchable(attack, protocol.search_attribution)
    changed = {} if nodes is None else {"nodes": nodes}
    return _specify("attributions", Component(name=component.name, params=component.params | changed))


def _searchable(attack: Attack, attribution: Component) -> Component:
    """Return the attribution through which an attack searches.

    An attack that needs gradients searches through the substitute of a method that has none.
    """
    method: type[AttributionMethod] = registry.load("attributions", attribution.name)
    if attack.knowledge != "white-box" or method.differentiable:
        return attribution
    return Component(name=method.substitute)


def _samples_spec(request: Request, protocol: Protocol) -> SamplesSpec:
    total = len(protocol.samples.indices)
    count = total if request.limit is None else request.limit
    if not 1 <= count <= total:
        raise UsageError(f"expected a limit between 1 and the {total} samples of {protocol.key}, got {count}")
    return SamplesSpec(sha256=protocol.samples.sha256, count=count, of=total)


def _model_spec(resolved: Resolved) -> ModelSpec:
    entry = resolved.entry
    build = registry.load("architectures", entry.architecture.name)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(build).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    version = getattr(inspect.getmodule(build), "VERSION", 1)
    params = {**defaults, **entry.architecture.params}
    return ModelSpec(
        name=entry.name,
        reference=resolved.reference,
        architecture=PluginSpec(name=entry.architecture.name, version=version, params=params),
        weights_sha256=entry.weights.sha256,
        mean=entry.mean,
        std=entry.std,
    )


def _specify(kind: registry.Kind, component: Component) -> PluginSpec:
    return _plugin_spec(component.name, registry.instantiate(kind, component))


def _metric_spec(measure: Measure) -> MetricSpec:
    metric: Metric = registry.instantiate("metrics", measure)
    plugin = None if measure.as_ is None else measure.name
    return MetricSpec(**_plugin_spec(measure.column, metric).model_dump(), higher_is=metric.higher_is, plugin=plugin)


def _plugin_spec(name: str, plugin: Any) -> PluginSpec:
    dumped = TypeAdapter(type(plugin)).dump_python(plugin, mode="json")
    return PluginSpec(name=name, version=plugin.version, params={f.name: dumped[f.name] for f in fields(plugin)})
