"""The runs of an audit.

An audit varies one value at a time, and attacks without the model's gradients.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from bench import registry
from bench.core.contracts import Attack
from bench.core.errors import UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component, Protocol
from bench.core.storage.stored_run import StoredRun
from bench.run.execution import Execution, Observer
from bench.run.plan import resolve_models
from bench.run.request import Request, parse
from bench.run.steps import run

RADII = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))
"""Factors for the protocol's radius."""

STEPS = (Fraction(1, 10), Fraction(1, 2), Fraction(1), Fraction(2))
"""Factors for the protocol's steps."""

RESTARTS = (Fraction(1), Fraction(3))
"""Factors for the protocol's random starts."""

SHARPNESS = (5.0, 20.0, 100.0)
"""Sharpness values of the surrogate, in addition to the protocol's."""

CONTROL = "nes"
"""The attack without gradients that must not beat an attack with gradients."""

CONTROL_DRAWS = 2
"""Pairs of forward passes per step of that attack. With the audited attack's number of steps it costs two and a half
times as much."""

TRANSFER = "transfer"
"""The attack with gradients of another model that must not beat an attack with the audited model's own gradients."""


@dataclass(frozen=True)
class Audit:
    """The model to audit and the conditions."""

    model: str
    protocol: str
    attack: str | None = None
    """An attack with gradients; by default the protocol's first."""
    limit: int = 20
    """Number of samples per run, the first of the protocol."""


def audit(wanted: Audit, execution: Execution, observer: Observer) -> list[StoredRun]:
    """Complete and return every run of an audit.

    The order is: the floor, the protocol's attack, the others. Runs in the store are not run again. All runs except the
    first two differ from the protocol, and no board shows them.

    Raises:
        UsageError: if a name is unknown, or the attack has no gradients to audit.
        BenchError: for the same reasons as `run`.
    """
    protocol: Protocol = registry.load("protocols", wanted.protocol)
    component = _component(wanted, protocol)
    floor = _request(wanted, protocol.floor)
    audited = resolve_models(parse(floor)).attacked.entry
    asked = [floor, *requests(wanted, component, protocol), *transferred(wanted, component, protocol, audited)]
    return list({each.record.run_id: each for each in run(asked, execution, observer)}.values())


def requests(wanted: Audit, component: Component, protocol: Protocol) -> Iterator[Request]:
    """Yield the requests of the runs on the audited model.

    The order is: the protocol's attack, the runs with one value changed, the attack without gradients.
    """
    attack: Attack = registry.instantiate("attacks", component)
    yield _request(wanted, component.name)
    for factor in RADII:
        yield _request(wanted, component.name, epsilon=str(factor * protocol.threat.epsilon))
    for name, factors in (("steps", STEPS), ("restarts", RESTARTS)):
        if (own := getattr(attack, name, None)) is not None:
            for factor in factors:
                yield _request(wanted, component.name, params={name: max(1, int(factor * own))})
    for beta in SHARPNESS:
        yield _request(wanted, component.name, beta=beta)
    steps = getattr(attack, "steps", None)
    yield _request(wanted, CONTROL, params={"draws": CONTROL_DRAWS, **({"steps": steps} if steps else {})})


def transferred(wanted: Audit, component: Component, protocol: Protocol, audited: ModelEntry) -> Iterator[Request]:
    """Yield the audited attack with another model as its source.

    Yield nothing if the registry has no such model. The source is the first suitable model of the protocol's reference
    set, or else of all models by name. It is suitable if it is trained on the same data set, is embedded, is not a
    control and has other weights than the audited model.
    """
    for name in _candidates(protocol):
        entry: ModelEntry = registry.load("models", name)
        same_images = entry.dataset == audited.dataset
        if not same_images or not entry.contends or entry.weights.repo or entry.weights.checkpoint:
            continue
        if entry.weights.sha256 != audited.weights.sha256:
            source: dict[str, object] = {"model": f"hub:{name}", "attack": component.name, "params": component.params}
            yield _request(wanted, TRANSFER, params=source)
            return


def _candidates(protocol: Protocol) -> Iterable[str]:
    known = registry.names("models")
    return dict.fromkeys([*(name for name in protocol.reference if name in known), *known])


def _component(wanted: Audit, protocol: Protocol) -> Component:
    """Return the attack to audit, with the protocol's parameters.

    Raises:
        UsageError: if the protocol does not list it, or it uses no gradients.
    """
    own = [c for c in protocol.attacks if registry.load("attacks", c.name).knowledge == "white-box"]
    chosen = next((c for c in own if wanted.attack in {None, c.name}), None)
    if chosen is None:
        names = ", ".join(c.name for c in own) or "none"
        came = wanted.attack or "a protocol without one"
        raise UsageError(f"expected an attack of {protocol.key} with gradients ({names}), got {came}; choose another")
    return chosen


def _request(
    wanted: Audit,
    attack: str,
    *,
    params: dict[str, object] | None = None,
    epsilon: str | None = None,
    beta: float | None = None,
) -> Request:
    return Request(
        model=wanted.model,
        attack=attack,
        protocol=wanted.protocol,
        limit=wanted.limit,
        params=params,
        epsilon=epsilon,
        beta=beta,
    )
