"""Requests of users, whose names and values are checked first.

No model is looked up here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from bench import registry
from bench.core.contracts import AnnotationKind, Attack, AttributionMethod, Metric
from bench.core.errors import UsageError
from bench.core.schemas.protocol import ATTRIBUTION, Component, Protocol, Surrogate, ThreatModel
from bench.core.schemas.strict import Strict
from bench.core.storage.toml import explain
from bench.images.source import source_of

Part = TypeVar("Part", bound=Strict)


@dataclass(frozen=True, kw_only=True)
class Request:
    """A user's request for a run."""

    model: str
    attack: str
    """NAME, or NAME@VERSION for an earlier version that still exists."""
    protocol: str
    limit: int | None = None
    """Use only the protocol's first `limit` samples; None means all."""
    params: Mapping[str, object] | None = None
    """Attack parameters that replace the protocol's."""
    epsilon: str | None = None
    """Radius that replaces the protocol's, such as "4/255"."""
    beta: float | None = None
    """Sharpness of the surrogate that replaces the protocol's."""
    nodes: int | None = None
    """Nodes of the attribution that attacks search with; replaces the protocol's number."""
    precision: str | None = None
    """Precision of the search on a GPU that replaces the protocol's."""


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A request with known names and allowed values.

    Its models are not looked up yet.
    """

    request: Request
    protocol: Protocol
    component: Component
    """The requested attack with its parameters."""
    attack: Attack
    source_attack: Attack | None
    """The attack that a transferred attack runs on its source."""
    threat: ThreatModel
    surrogate: Surrogate


def parse(request: Request) -> Parsed:
    """Return a request with its names looked up and its values checked.

    Raises:
        UsageError: if a name, a key or a value is unknown or not allowed.
    """
    protocol: Protocol = registry.load("protocols", request.protocol)
    _check_judge(protocol)
    component = _attack_component(request, protocol)
    attack: Attack = registry.instantiate("attacks", component)
    source_attack = _source_attack(attack)
    _check_attack(component.name, attack, source_attack, protocol)
    threat = _override(protocol.threat, "epsilon", request.epsilon)
    if threat.unbounded and not protocol.threat.unbounded:
        meant = f"; write {threat.epsilon}/255 for grey levels" if threat.epsilon.denominator == 1 else ""
        raise UsageError(f"--epsilon: expected less than 1, the whole range of a pixel, got {threat.epsilon}{meant}")
    surrogate = _override(protocol.surrogate, "beta", request.beta)
    surrogate = _override(surrogate, "precision", request.precision)
    return Parsed(
        request=request,
        protocol=protocol,
        component=component,
        attack=attack,
        source_attack=source_attack,
        threat=threat,
        surrogate=surrogate,
    )


def _source_attack(attack: Attack) -> Attack | None:
    """Return the attack that a transferred attack runs on its source."""
    if (craft := attack.crafted_on) is None:
        return None
    inner: Attack = registry.instantiate("attacks", craft.attack)
    if inner.crafted_on is not None:
        raise UsageError(f"expected an attack that is run on its victim, got {craft.attack.name}; transfer once")
    return inner


def _check_attack(name: str, attack: Attack, source_attack: Attack | None, protocol: Protocol) -> None:
    """Raise if the protocol's threat model does not allow the attack."""
    if attack.knowledge == "white-box" and protocol.threat.knowledge != "white-box":
        raise UsageError(
            f"expected an attack without white-box knowledge under {protocol.key}, got {name}; choose another"
        )
    if (source_attack or attack).aim == "prediction" and protocol.threat.keep_prediction:
        raise UsageError(
            f"expected an attack on the explanation under {protocol.key}, which keeps the prediction, got "
            f"{name}; choose a protocol with keep_prediction = false"
        )


def _check_judge(protocol: Protocol) -> None:
    """Raise if a protocol's attribution or primary metric is unfit.

    No protocol may rank by an unfit attribution. Attacks select by the primary metric at each step; therefore it must
    not ask the network.
    """
    if protocol.track != ATTRIBUTION:
        registry.load("tracks", protocol.track)
    method: type[AttributionMethod] = registry.load("attributions", protocol.attribution.name)
    if protocol.rankable and method.unfit_to_rank:
        raise UsageError(
            f"expected an attribution that is fit to rank by under {protocol.key}, got {protocol.attribution.name}: "
            f"{method.unfit_to_rank}; set rankable = false, or choose another"
        )
    known = registry.names("metrics")
    for measure in protocol.metrics:
        if measure.as_ in known:
            raise UsageError(f"{protocol.key}: metrics: as: expected a name that no metric has, got {measure.as_}")
    primary: Metric = registry.instantiate("metrics", protocol.primary)
    if primary.asks_model or primary.needs:
        why = f"needs {' or '.join(primary.needs)}" if primary.needs else "asks the network again"
        raise UsageError(
            f"expected a primary metric that compares two heatmaps alone under {protocol.key}, got "
            f"{protocol.primary_metric}, which {why}; choose another: attacks select by it at every step"
        )
    _check_annotations(protocol)


def _check_annotations(protocol: Protocol) -> None:
    """Raise if a metric needs annotations that the images do not have."""
    source = protocol.samples.source
    there: tuple[AnnotationKind, ...] = source_of(protocol.samples).annotates
    for measure in protocol.metrics:
        metric: Metric = registry.instantiate("metrics", measure)
        if metric.needs and not set(metric.needs) & set(there):
            raise UsageError(
                f"{protocol.key}: metrics: expected a data set with {' or '.join(metric.needs)} for {measure.column}, "
                f"got {source}, which has {' and '.join(there) or 'no annotations'}; leave the metric out, or choose "
                "another data set"
            )


def _attack_component(request: Request, protocol: Protocol) -> Component:
    """Return the attack of NAME or NAME@VERSION with its parameters.

    An attack of the protocol has the protocol's parameters.
    """
    name, _, version = request.attack.partition("@")
    registry.load("attacks", name)  # raises also if the text is not a valid name
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
    """Return a part of a protocol with one value replaced.

    Nothing changes if `value` is None.
    """
    if value is None:
        return part
    try:
        return type(part).model_validate(part.model_dump() | {key: value})
    except ValidationError as error:
        said = explain(error)
        raise UsageError(f"--{said}" if said.startswith(f"{key}:") else f"--{key}: {said}") from None
