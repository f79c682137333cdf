"""From the words of a command to the full specification of a run: parse, resolve, specify."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from bench import registry
from bench.core.contracts import Attack, AttributionMethod, Metric
from bench.core.errors import UsageError, suggestion
from bench.core.schemas.protocol import ATTRIBUTION, Component, Protocol, Strict
from bench.core.schemas.records import CraftSpec, MetricSpec, ModelSpec, PluginSpec, ProtocolSpec, RunSpec, SamplesSpec
from bench.core.storage.toml import explain
from bench.run.attack.search import ENGINE
from model_zoo.hub import full, resolve
from model_zoo.weights_file import Resolved

Part = TypeVar("Part", bound=Strict)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for."""

    model: str
    attack: str
    """NAME, or NAME@VERSION for an earlier version that is still here."""
    protocol: str
    limit: int | None = None
    """Only the first so many samples of the protocol."""
    params: Mapping[str, object] | None = None
    """Attack parameters other than the protocol's."""
    epsilon: str | None = None
    """Radius other than the protocol's, such as "4/255"."""
    beta: float | None = None
    """Sharpness of the surrogate other than the protocol's."""
    nodes: int | None = None
    """Nodes of the attribution that attacks search with, other than the protocol's."""
    precision: str | None = None
    """How the search multiplies on a GPU, other than the protocol's."""


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start: its identity, and what its names stand for."""

    spec: RunSpec
    protocol: Protocol
    model: Resolved
    attack: Attack
    source: Resolved | None = None
    """The other model that a transferred attack is crafted on."""
    source_attack: Attack | None = None


def plan(request: Request) -> Plan:
    """Resolve every name of a request and pin every value.

    Raises:
        UsageError: if a name, a key or a value is unknown or not allowed.
        IntegrityError, NetworkError: if the model's weights cannot be had as promised.
    """
    protocol: Protocol = registry.load("protocols", request.protocol)
    _check_judge(protocol)
    component = _attack_component(request, protocol)
    attack: Attack = registry.instantiate("attacks", component)
    if attack.knowledge == "white-box" and protocol.threat.knowledge != "white-box":
        raise UsageError(
            f"expected an attack without white-box knowledge under {protocol.key}, got {component.name}; choose another"
        )
    resolved = _resolve(full(request.model), protocol)
    source, source_attack = _source(attack, protocol)
    if (source_attack or attack).aim == "prediction" and protocol.threat.keep_prediction:
        raise UsageError(
            f"expected an attack on the explanation under {protocol.key}, which keeps the prediction, got "
            f"{component.name}; choose a protocol with keep_prediction = false"
        )
    threat = _override(protocol.threat, "epsilon", request.epsilon)
    if threat.unbounded and not protocol.threat.unbounded:
        meant = f"; write {threat.epsilon}/255 for grey levels" if threat.epsilon.denominator == 1 else ""
        raise UsageError(f"--epsilon: expected less than 1, the whole range of a pixel, got {threat.epsilon}{meant}")
    surrogate = _override(protocol.surrogate, "beta", request.beta)
    surrogate = _override(surrogate, "precision", request.precision)
    search = _search_attribution(attack, protocol, request.nodes)
    as_written = (
        component in protocol.attacks,
        threat == protocol.threat,
        surrogate == protocol.surrogate,
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
        model=_model_spec(resolved),
        attack=_plugin_spec(component.name, attack),
        threat=threat,
        attribution=_specify("attributions", protocol.attribution),
        search_attribution=search,
        surrogate=surrogate,
        explain=protocol.explain,
        heatmap=protocol.heatmap,
        metrics=tuple(_metric_spec(metric) for metric in protocol.metrics),
        primary_metric=protocol.primary_metric,
        samples=_samples_spec(request, protocol),
        seed=protocol.seed,
        precision=protocol.precision,
        on_protocol=all(as_written),
        crafted_on=_craft_spec(attack, source, source_attack, protocol),
    )
    return Plan(spec, protocol, resolved, attack, source, source_attack)


def _resolve(reference: str, protocol: Protocol) -> Resolved:
    def check_dataset(name: str, dataset: str) -> None:
        if dataset == (wanted := protocol.models_of or protocol.samples.dataset):
            return
        known = registry.names("datasets")
        came = f"{name} of {dataset}" if dataset in known else f"{name} of the unknown data set {dataset!r}"
        raise UsageError(
            f"expected a model of {wanted} for the protocol {protocol.key}, got {came}; {_remedy(dataset, known)}"
        )

    resolved = resolve(reference, check_dataset)
    check_dataset(resolved.entry.name, resolved.entry.dataset)
    return resolved


def _remedy(dataset: str, known: Sequence[str]) -> str:
    """Say which protocols fit models of a data set."""
    if dataset not in known and (meant := suggestion(dataset, known)):
        return meant
    rules = [registry.load("protocols", name) for name in registry.names("protocols")]
    fitting = [each.key for each in rules if (each.models_of or each.samples.dataset) == dataset]
    if not fitting:
        return f"no protocol here has models of {dataset}"
    return f"choose another protocol, such as {fitting[0]}"


def _source(attack: Attack, protocol: Protocol) -> tuple[Resolved | None, Attack | None]:
    """Return the model and the attack that a transferred attack is crafted on."""
    if (craft := attack.crafted_on) is None:
        return None, None
    inner: Attack = registry.instantiate("attacks", craft.attack)
    if inner.crafted_on is not None:
        raise UsageError(f"expected an attack that is run on its victim, got {craft.attack.name}; transfer once")
    return _resolve(craft.model, protocol), inner


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
    """Return what an attack searches through: an attack that needs gradients, through a method that has some."""
    method: type[AttributionMethod] = registry.load("attributions", attribution.name)
    if attack.knowledge != "white-box" or method.differentiable:
        return attribution
    return Component(name=method.substitute)


def _check_judge(protocol: Protocol) -> None:
    """Refuse a protocol that ranks by what proves nothing, or whose attacks would have to ask anew at each step."""
    if protocol.track != ATTRIBUTION:
        registry.load("tracks", protocol.track)
    method: type[AttributionMethod] = registry.load("attributions", protocol.attribution.name)
    if protocol.rankable and method.unfit_to_rank:
        raise UsageError(
            f"expected an attribution that is fit to rank by under {protocol.key}, got {protocol.attribution.name}: "
            f"{method.unfit_to_rank}; set rankable = false, or choose another"
        )
    primary = registry.load("metrics", protocol.primary_metric)
    if primary.asks_model:
        raise UsageError(
            f"expected a primary metric that compares two heatmaps alone under {protocol.key}, got "
            f"{protocol.primary_metric}, which asks the network anew; choose another: attacks select by it at each step"
        )


def _attack_component(request: Request, protocol: Protocol) -> Component:
    """Return the attack that NAME or NAME@VERSION asks for; the protocol's own has the protocol's parameters."""
    name, _, version = request.attack.partition("@")
    registry.load("attacks", name)  # what is no name at all is an unknown one, too
    if version and not version.isdecimal():
        raise UsageError(f"expected an attack as NAME or NAME@VERSION, such as auto@2, got {request.attack!r}")
    asked = Component(name=name, version=int(version) if version else None)
    own = next((each for each in protocol.attacks if each.name == name), asked)
    component = own if asked.version in {None, _version(own)} else asked
    params = {**component.params, **(request.params or {})}
    return component.model_copy(update={"params": params})


def _version(component: Component) -> int:
    version: int = registry.instantiate("attacks", component).version
    return version


def _override(part: Part, key: str, value: object) -> Part:
    """Return a part of a protocol with one value replaced, if there is one to replace it."""
    if value is None:
        return part
    try:
        return type(part).model_validate(part.model_dump() | {key: value})
    except ValidationError as error:
        raise UsageError(f"--{explain(error)}") from None


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


def _metric_spec(component: Component) -> MetricSpec:
    metric: Metric = registry.instantiate("metrics", component)
    return MetricSpec(**_plugin_spec(component.name, metric).model_dump(), higher_is=metric.higher_is)


def _plugin_spec(name: str, plugin: Any) -> PluginSpec:
    dumped = TypeAdapter(type(plugin)).dump_python(plugin, mode="json")
    return PluginSpec(name=name, version=plugin.version, params={f.name: dumped[f.name] for f in fields(plugin)})
