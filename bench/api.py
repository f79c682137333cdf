"""The benchmark from Python: a network, in memory or by its name, goes the way of `bench run`."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from pydantic import TypeAdapter
from torch import nn

from bench import registry
from bench.core.compute.context import own_context
from bench.core.compute.machine import pick_device
from bench.core.contracts import Attack, Dataset
from bench.core.errors import UsageError
from bench.core.schemas.protocol import Component, Protocol
from bench.core.schemas.records import RunRecord
from bench.core.storage.folders import cache_folder
from bench.core.storage.store import Store
from bench.run.execution import Execution
from bench.run.plan import plan
from bench.run.request import Request
from bench.run.steps import run_all
from bench.terminal.progress import RunProgress
from model_zoo.build import build
from model_zoo.hub import full, resolve
from model_zoo.imported import keep
from model_zoo.in_memory import ARCHITECTURE, Channels, describe, public_name


@dataclass(frozen=True)
class Result:
    """What one attack left of a network's explanations."""

    record: RunRecord
    """As `bench run` files it: everything that was asked and found."""
    rows: pd.DataFrame
    """One line per image: labels, predictions, distances, and a column per metric, NaN where it is undefined."""
    floor: Result | None
    """The protocol's attack without knowledge on the same images; None where that was the attack."""
    remark: str
    """How others come to this number."""

    @property
    def summary(self) -> pd.DataFrame:
        """Mean, 95 % bootstrap interval (`low`, `high`), `n` and `n_undefined` of each metric, which is the index.

        Over the correctly classified images; accuracy over all.
        """
        found = {name: summary.model_dump() for name, summary in self.record.headline.items()}
        return pd.DataFrame.from_dict(found, orient="index").rename_axis("metric")

    def __repr__(self) -> str:
        spec, record = self.record.spec, self.record
        about = f"{record.samples} images, {record.correct} correct, {record.infeasible} infeasible"
        flags = [f"{flag.name}: {flag.detail}" for flag in record.flags]
        title = f"{spec.model.name} under {spec.attack.name}, {spec.protocol.key}, {about}"
        return "\n".join([title, self.summary.to_string(float_format="{:.3f}".format), *flags, self.remark])


def benchmark(
    model: nn.Module | str,
    attack: Attack | str = "ifia-topk",
    protocol: str = "cifar10-smoke-v1",
    *,
    mean: Channels = None,
    std: Channels = None,
    limit: int | None = None,
    device: str | torch.device = "auto",
) -> Result:
    """Attack a network's explanations under a protocol, and measure what is left of them.

    Numbers are those of `bench run`, by the same code. A module is copied first and stays as it is: the copy is in eval
    mode, in float32, and each call of ReLU in it is a module of its own where that can be had.

    Args:
        model: a module from (N, C, H, W) images to (N, K) logits of the protocol's data set; or what `bench run
            --model` takes, `hub:NAME` also as NAME alone.
        attack: by name, with the protocol's parameters if it has it; or an object of a class of `Attack`. The floor
            attack, which it must beat, runs first.
        protocol: by name, or the path of its TOML.
        mean: of the normalisation that the module expects, in pixel units, where 1 is the full range; 0 where it takes
            [0, 1] as it is.
        std: its divisor; 1 where the module takes [0, 1] as it is.
        limit: only the protocol's first so many images.
        device: auto, cpu, cuda, cuda:1, …
    Returns:
        The record and its rows, which are filed nowhere.
    Raises:
        UsageError: if a name is unknown, mean and std are missing (or given of a model that has its own), or no
            surrogate that attacks can follow can be made (docs/networks.md).
        ModelOutputError: if the answers are no finite (N, K) logits.
        IntegrityError: if the module, rebuilt from its state dict, answers otherwise.
        EnvironmentFault: if the protocol's images are not here and cannot be had.
    """
    count, protocol = _whole(limit), str(protocol)
    rules: Protocol = registry.load("protocols", protocol)
    with own_context(), TemporaryDirectory() as temporary, RunProgress(command=False) as progress:
        folder = Path(temporary)
        with _reference(model, mean, std, rules, folder) as reference, _offered(attack) as (name, params):
            asked = Request(model=reference, attack=name, protocol=protocol, limit=count, params=params)
            floor = replace(asked, attack=rules.floor, params=None)
            plans = [plan(each) for each in ([asked] if name == rules.floor else [floor, asked])]
            # Code that is in memory alone has no name by which unfinished work could be found.
            named = isinstance(model, str) and isinstance(attack, str)
            work = cache_folder() / "work" if named else folder / "work"
            runs = run_all(plans, Execution(Store(folder / "results"), work, str(device)), progress)
        remark = _remark(model, attack, protocol, count)
        results = [Result(each.record, each.rows(), None, remark) for each in runs]
    return replace(results[-1], floor=results[0]) if len(results) > 1 else results[0]


def load_model(name: str, device: str | torch.device = "cpu") -> nn.Module:
    """Return a model with its weights verified.

    Args:
        name: what `bench run --model` takes, `hub:NAME` also as NAME alone.
        device: auto, cpu, cuda, cuda:1, …
    Returns:
        (N, C, H, W) images in [0, 1] to (N, K) logits: normalisation is inside. In eval mode, its parameters frozen.
    Raises:
        UsageError: if there is no such model.
        IntegrityError, NetworkError: if its weights cannot be had as promised.
    """
    with own_context():
        entry, _, path = resolve(full(name))
        architecture = registry.load("architectures", entry.architecture.name)
        return build(entry, architecture, path, device=pick_device(str(device)))


def _whole(limit: object) -> int | None:
    """Return a limit as an int: Python's, NumPy's or of a tensor of one number."""
    if limit is None:
        return None
    try:
        return operator.index(limit)  # type: ignore[arg-type]
    except TypeError:
        raise UsageError(f"expected a whole number as limit, got {limit!r}; give an int") from None


def _remark(model: nn.Module | str, attack: Attack | str, protocol: str, limit: int | None) -> str:
    if not isinstance(attack, str):
        return "Not filed: nobody else can run an attack in memory; `bench new attack` begins a file of its own for it."
    if isinstance(model, str):
        words = ["bench run --model", full(model), "--attack", attack, "--protocol", protocol]
        return f"Not filed; {' '.join(words + ([] if limit is None else ['--limit', str(limit)]))} does."
    return "Not filed and never ranked: nobody else can run a module in memory; `bench submit` makes it a model."


@contextmanager
def _offered(attack: Attack | str) -> Iterator[tuple[str, dict[str, object] | None]]:
    """Yield an attack's name and parameters as `bench run` takes them; an object has a name while the block runs."""
    if isinstance(attack, str):
        yield attack, None
        return
    code = type(attack)
    if not isinstance(attack, Attack):
        came = "a class" if isinstance(attack, type) else f"an object of {code.__name__}"
        raise UsageError(f"attack: expected a name, or an object of a subclass of Attack, got {came}; make one")
    registry.conforming("attacks", code, f"attack {code.__name__}")
    params = TypeAdapter(code).dump_python(attack, mode="json")
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", code.__name__.strip("_")).replace("_", "-").lower()
    if name in registry.names("attacks") and registry.load("attacks", name) is not code:
        name += "-in-memory"
    with registry.offering("attacks", name, code):
        yield name, params


@contextmanager
def _reference(model: nn.Module | str, mean: Channels, std: Channels, rules: Protocol, folder: Path) -> Iterator[str]:
    """Say how `bench run` names a model; a module has an entry, in the folder, while a block runs."""
    if isinstance(model, str):
        if mean is not None or std is not None:
            raise UsageError(f"expected no mean and std of {model}, whose entry has them, got some; leave them out")
        yield full(model)
        return
    if not isinstance(model, nn.Module):
        raise UsageError(f"expected an nn.Module or the name of a model, got {type(model).__name__}; name it")
    trained_on, source = rules.models_of or rules.samples.dataset, Component(name=rules.samples.source)
    dataset: type[Dataset] = registry.load("datasets", trained_on)
    images = registry.instantiate("datasets", source).load(rules.samples.split).images[:2].float() / 255
    found = describe(model, mean, std, name=trained_on, dataset=dataset, images=images)
    kept = keep(found, f"{type(model).__name__}, a module in memory", public_name(model), folder)
    with registry.offering("architectures", ARCHITECTURE, found.build):
        yield f"file:{folder / kept.entry.name}.toml"
