"""The runs that an audit adds to a model's own: sweeps of one value each, and controls without its gradients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from bench import registry
from bench.core.contracts import Attack
from bench.core.errors import UsageError
from bench.core.schemas.entry import ModelEntry
from bench.core.schemas.protocol import Component, Protocol
from bench.core.storage.store import StoredRun
from bench.run.cache import Cache
from bench.run.execution import Execution, Observer
from bench.run.plan import Plan, plan
from bench.run.request import Request
from bench.run.steps import run

RADII = (Fraction(1, 4), Fraction(1, 2), Fraction(1), Fraction(2))
"""Factors on the protocol's radius."""

STEPS = (Fraction(1, 10), Fraction(1, 2), Fraction(1), Fraction(2))
"""Factors on the protocol's steps."""

RESTARTS = (Fraction(1), Fraction(3))
"""Factors on the protocol's random starts."""

SHARPNESS = (5.0, 20.0, 100.0)
"""Of the surrogate, beside the protocol's."""

CONTROL = "nes"
"""The attack without gradients that must not beat one with them."""

CONTROL_DRAWS = 2
"""Pairs of looks per step of the control: at the attack's own number of steps, two and a half times its cost."""

TRANSFER = "transfer"
"""The attack with gradients of another model that must not beat one with the audited model's own."""


@dataclass(frozen=True)
class Audit:
    """Whom to audit, and under what."""

    model: str
    protocol: str
    attack: str | None = None
    """With gradients; by default the first such attack of the protocol."""
    limit: int = 20
    """Samples of each run, the protocol's first ones."""


def audit(wanted: Audit, execution: Execution, observer: Observer) -> list[StoredRun]:
    """Complete every run of an audit, and return them: the floor, the attack as the protocol has it, the others.

    Runs that the store has are not run again. All but the first two are off the protocol, and no board shows them.

    Raises:
        UsageError: if a name is unknown, or the attack has no gradients to audit.
        BenchError: as `run` does.
    """
    protocol: Protocol = registry.load("protocols", wanted.protocol)
    component = _component(wanted, protocol)
    first, *plans = [plan(_request(wanted, protocol.floor)), *map(plan, requests(wanted, component, protocol))]
    plans += transferred(wanted, component, protocol, first)
    cache = Cache()
    floor = run(first, execution, observer, cache=cache)
    done = {floor.record.run_id: floor}
    for planned in plans:
        comparable = planned.spec.threat == protocol.threat
        stored = run(planned, execution, observer, floor if comparable else None, cache)
        done[stored.record.run_id] = stored
    return list(done.values())


def requests(wanted: Audit, component: Component, protocol: Protocol) -> Iterator[Request]:
    """Yield the attack as the protocol has it, then each sweep's runs, then the control."""
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


def transferred(wanted: Audit, component: Component, protocol: Protocol, audited: Plan) -> Iterator[Plan]:
    """Yield the audited attack as it is crafted on another model, if the registry has one.

    That is the first of the protocol's reference set, or else of all names in their order, that is trained on the same
    data set, embedded, no control, and of other weights than the audited model.
    """
    for name in _candidates(protocol):
        entry: ModelEntry = registry.load("models", name)
        same_images = entry.dataset == audited.model.entry.dataset
        if not same_images or not entry.contends or entry.weights.repo or entry.weights.origin:
            continue
        if entry.weights.sha256 != audited.spec.model.weights_sha256:
            source: dict[str, object] = {"model": f"hub:{name}", "attack": component.name, "params": component.params}
            yield plan(_request(wanted, TRANSFER, params=source))
            return


def _candidates(protocol: Protocol) -> Iterable[str]:
    known = registry.names("models")
    return dict.fromkeys([*(name for name in protocol.reference if name in known), *known])


def _component(wanted: Audit, protocol: Protocol) -> Component:
    """Return the attack to audit, as the protocol has it.

    Raises:
        UsageError: if it is not the protocol's, or asks for no gradients.
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
