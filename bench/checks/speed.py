"""Measures how fast this machine attacks and judges.

The times are compared with the time that the network's convolutions alone take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial

import torch
from torch import Tensor, nn

from bench import registry
from bench.checks.models import SMALL_SETS
from bench.checks.products import product_seconds
from bench.checks.stopwatch import Stopwatch
from bench.checks.timed_models import UNTRAINED, of_library, of_recipe
from bench.core.compute.chunks import NODES_IN_FLIGHT, cpu_batch
from bench.core.compute.machine import forget_peak_memory, peak_memory, shortened
from bench.core.compute.rng import SampleRng
from bench.core.contracts import Attack, Dataset, Pair
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component, Protocol, SearchPrecision
from bench.run.attack.search import Attacked, attack_shard
from bench.run.judge.clean import look
from bench.run.judge.measure import measure_shard
from bench.run.plan import plan
from bench.run.request import Request
from bench.run.samples import Samples
from bench.run.setup import Networks, Setup, assemble

UNITS = 6
"""Least number of passes per node and step of a search: value, gradient, tangent and second backward pass of the
surrogate, value and gradient of the real network, which selects the best iterate."""

LENGTHS: dict[str, tuple[int, int]] = {"steps": (1, 3), "budget": (20, 26)}
"""Values of a short and a long attack, by the parameter that sets its length; the difference of their times gives the
time of a step."""

RECIPE = "recipe:"
"""Prefix of a recipe's name that asks for its untrained network: speed does not depend on the weights."""


@dataclass(frozen=True)
class Speed:
    """The time of one attack on one model on this machine.

    Times are in seconds per image; the shortest of several repeats counts.
    """

    model: str
    protocol: str
    attack: str
    nodes: int
    """Nodes of the attribution that the attack searches with."""
    searches: int
    """Number of searches of a suite, each with its own steps; 1 for a plain attack, or if all share one budget."""
    steps: int
    """Steps of the attack under the protocol."""
    batch_size: int
    precision: str
    """Precision of the search on a GPU."""
    compiled: bool
    step_seconds: float
    """Time that a further step takes; an upper bound where it lies within the noise of the two attacks' times."""
    attack_seconds: float
    clean_seconds: float
    """Time to judge the clean image; done once for all attacks on a model."""
    judge_seconds: float
    """Time of everything after the attack: predictions, attributions, metrics."""
    map_metrics_seconds: float
    """Time of the metrics that compare heatmaps and do not ask the network."""
    forward_flop: int
    """Operations of one image's forward pass; a multiplication with its addition counts as two."""
    convolution_flop_per_second: float
    """Speed of the network's convolutions and matrix products alone, forward, in batches of the size searches use."""
    product_seconds: float
    """Time of a Hessian-vector product of the surrogate, per node."""
    plain_seconds: float
    """The same by plain double backward."""
    peak_bytes: int
    """Peak memory of torch's tensors on a GPU; on a CPU, of the process since its start."""

    @property
    def images_per_second(self) -> float:
        """Return how many images are attacked completely per second."""
        return 1 / self.attack_seconds

    @property
    def floor_seconds(self) -> float:
        """Return the time of a step if it consisted of convolutions only."""
        return UNITS * self.nodes * self.searches * self.forward_flop / self.convolution_flop_per_second

    @property
    def floor_share(self) -> float:
        """Return the share of `floor_seconds` in the time of a step."""
        return self.floor_seconds / self.step_seconds


def measure(
    reference: str,
    protocol_name: str,
    attack: str,
    *,
    batch_size: int,
    watch: Stopwatch,
    precision: SearchPrecision | None = None,
    compiled: bool = False,
) -> Speed:
    """Time an attack on a model under a protocol.

    Args:
        reference: a model as for `bench run`; `recipe:NAME` for that recipe's untrained network; `untrained:ZOO:NAME`
            for a network of another library with random weights.
        protocol_name: the protocol that fixes attribution, metrics and the attack's parameters.
        attack: an attack that goes in steps.
        batch_size: N images at once.
        watch: where to compute, and how to take times.
        precision: precision of the search on a GPU; None means the protocol's.
        compiled: whether the search's derivatives are compiled; compilation is not timed.
    Raises:
        UsageError: if the attack has no steps, or a name is unknown.
    """
    protocol: Protocol = registry.load("protocols", protocol_name)
    resolvable = _resolvable(reference)
    request = Request(model=resolvable, attack=attack, protocol=protocol_name, precision=precision)
    samples = _samples(protocol.samples.dataset, batch_size)
    steps, (short, long) = _steps(_whole(attack, protocol)), _setups(request, samples, watch.device, compiled)
    least, most = _steps(short.attack), _steps(long.attack)
    forget_peak_memory(watch.device)
    attacked = attack_shard(short, samples, batch_size, _ignore)  # the first call also warms up
    few, more = (watch.seconds(partial(attack_shard, each, samples, batch_size, _ignore)) for each in (short, long))
    step = (more - few) / (most - least) if more > few else more / most  # within the noise: an upper bound
    clean = look(short, samples)
    judging = watch.seconds(partial(measure_shard, short, samples, attacked, frozenset(), clean))
    with shortened(short.precision != "float32"):
        flop, rate = _convolutions(short, samples.images, watch)
    product, plain = product_seconds(short, samples.images, plan(request).spec.surrogate.beta, watch.seconds)
    return Speed(
        model=reference,
        protocol=protocol.key,
        attack=attack,
        nodes=short.search.method.nodes_per_image,
        searches=1 if _length(short.attack) == "budget" else len(short.attack.members),
        steps=steps,
        batch_size=batch_size,
        precision=short.precision,
        compiled=compiled,
        step_seconds=step / batch_size,
        attack_seconds=(few + (steps - least) * step) / batch_size,
        clean_seconds=watch.seconds(partial(look, short, samples)) / batch_size,
        judge_seconds=judging / batch_size,
        map_metrics_seconds=watch.seconds(_map_metrics(short, samples, attacked)) / batch_size,
        forward_flop=flop,
        convolution_flop_per_second=rate,
        product_seconds=product,
        plain_seconds=plain,
        peak_bytes=peak_memory(watch.device),
    )


def _resolvable(reference: str) -> str:
    if reference.startswith(UNTRAINED):
        return of_library(reference.removeprefix(UNTRAINED))
    return of_recipe(reference.removeprefix(RECIPE)) if reference.startswith(RECIPE) else reference


def _whole(attack: str, protocol: Protocol) -> Attack:
    """Return the attack as the protocol has it."""
    own = {component.name: component for component in protocol.attacks}
    made: Attack = registry.instantiate("attacks", own.get(attack) or Component(name=attack))
    return made


def _length(attack: Attack) -> str:
    """Return the name of the parameter that sets an attack's length."""
    for name in LENGTHS:
        if name in {each.name for each in fields(attack)}:  # type: ignore[arg-type]
            return name
    raise UsageError(f"expected an attack that goes in steps, got {type(attack).__name__}; choose another --attack")


def _steps(attack: Attack) -> int:
    _length(attack)
    return int(attack.steps)  # type: ignore[attr-defined]


def _setups(request: Request, samples: Samples, device: torch.device, compiled: bool) -> tuple[Setup, Setup]:
    """Return the setups of a short and a long attack.

    Both share their networks.
    """
    networks, name = Networks(), _length(plan(request).attack)
    plans = (plan(replace(request, params={name: length})) for length in LENGTHS[name])
    short, long = (assemble(each, str(device), samples, networks, compiled=compiled) for each in plans)
    return short, long


def _samples(dataset: str, count: int) -> Samples:
    """Return `count` images of a data set, repeated where it has fewer."""
    source: Dataset = registry.instantiate("datasets", Component(name=SMALL_SETS.get(dataset, dataset)))
    split, places = source.load("test"), source.annotations("test")
    chosen = torch.arange(count) % len(split.labels)
    ids = tuple(f"{dataset}/speed/{index}" for index in range(count))
    annotations = tuple(places[index] for index in chosen.tolist()) if places else ()
    return Samples(ids, split.images[chosen].float() / 255, split.labels[chosen], annotations)


def _map_metrics(setup: Setup, samples: Samples, attacked: Attacked) -> Callable[[], None]:
    """Return a function that computes the heatmap metrics of every member.

    The attributions are made here, so that they are not timed.
    """
    labels = samples.labels.to(setup.device)
    rng = SampleRng(setup.rng, samples.ids)
    sides = (samples.images, *attacked.images.unbind(1))
    before, *afters = (setup.judge.view(setup.model, side.to(setup.device), labels, rng) for side in sides)
    own = [metric for metric in setup.metrics.values() if not metric.asks_model]

    def compare() -> None:
        for after in afters:
            for metric in own:
                metric(Pair(before, after, labels, annotations=samples.annotations))

    return compare


@torch.no_grad()
def _convolutions(setup: Setup, images: Tensor, watch: Stopwatch) -> tuple[int, float]:
    """Return FLOP per image and FLOP/s of convolutions and linear layers.

    Only their forward pass counts.
    """
    nodes = setup.search.method.nodes_per_image
    size = cpu_batch(images) if setup.device.type == "cpu" else min(NODES_IN_FLIGHT, nodes * len(images))
    calls: list[tuple[nn.Module, Tensor, int]] = []

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)
        calls.append((module, inputs[0], 2 * output.numel() * module.weight[0].numel()))

    layers = [module for module in setup.model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(note) for layer in layers]
    batch = images[:1].expand(size, -1, -1, -1).to(setup.device).contiguous(memory_format=torch.channels_last)
    setup.model(batch)
    for hook in hooks:
        hook.remove()
    known: dict[tuple[str, torch.Size], float] = {}
    for module, inputs, _ in calls:
        key = (repr(module), inputs.shape)
        if key not in known:
            module(inputs)
            known[key] = watch.seconds(partial(module, inputs))
    total = sum(flop for _, _, flop in calls)
    return total // size, total / sum(known[repr(module), inputs.shape] for module, inputs, _ in calls)


def _ignore(images: int) -> None:
    """Ignore the number of finished images."""
