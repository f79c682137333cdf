"""Functions that run the benchmark from Python.

The network is an object in memory or a name. The steps are the same as in `bench run`.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
from bench.core.schemas.protocol import Protocol
from bench.core.schemas.records import RunRecord
from bench.core.storage.folders import cache_folder
from bench.core.storage.store import Store
from bench.images.in_memory import Gathered, Images, Labels, Transform, gather
from bench.images.offered import NAME, check_labels, dataset_of, offered
from bench.images.protocol import likeness
from bench.images.source import classes_of, source_of
from bench.run.execution import Execution
from bench.run.request import Request
from bench.run.steps import run
from bench.terminal.progress import RunProgress
from model_zoo.build import build
from model_zoo.hub import full, resolve
from model_zoo.imported import keep
from model_zoo.in_memory import ARCHITECTURE, Channels, describe, outputs_of, public_name

FIRST_LOOK = "cifar10-smoke-v1"
"""The protocol of a call that names none."""

OWN = "Not filed and never ranked: these images are your own; `bench run --images` files a run and writes its page."


@dataclass(frozen=True)
class Result:
    """What one attack left of a network's explanations."""

    record: RunRecord
    """The record as `bench run` would file it: the settings and the results."""
    rows: pd.DataFrame
    """One row per image: labels, predictions, distances, and one column per metric (NaN where undefined)."""
    floor: Result | None
    """The random attack of the protocol on the same images; None if that was the attack."""
    remark: str
    """How other people can get this number."""

    @property
    def summary(self) -> pd.DataFrame:
        """Return mean, 95 % bootstrap interval (`low`, `high`), `n`, `n_undefined` per metric.

        The metric is the index. The images are those classified correctly; accuracy is over all images.
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
    protocol: str | None = None,
    *,
    images: Images | None = None,
    labels: Labels = None,
    transform: Transform = None,
    classes: Sequence[str] | None = None,
    mean: Channels = None,
    std: Channels = None,
    limit: int | None = None,
    device: str | torch.device = "auto",
) -> Result:
    """Attack a network's explanations under a protocol and measure them.

    The code and the numbers are the same as in `bench run`. The function copies a module and does not change it. The
    copy is in eval mode and float32. Where possible, each call of ReLU in the copy becomes its own module.

    Args:
        model: a module from (N, C, H, W) images to (N, K) logits of the protocol's data set; or what `bench run
            --model` takes, `hub:NAME` also as NAME alone.
        attack: a name (with the protocol's parameters, if the protocol lists it) or an object of a subclass of
            `Attack`. The floor attack, which it must beat, runs first.
        protocol: a name, or the path of a TOML file; default: cifar10-smoke-v1. With `images`, everything but the
            images is taken from it; then the default is imagenet-gradient-v1.
        images: images of your own: (N, C, H, W) pixels in [0, 1], or 0 to 255 as uint8, as a tensor, a data set or a
            DataLoader, all without normalisation; or a folder of class folders, with a transform.
        labels: one class number or name per image, where the images come without labels.
        transform: makes a (C, H, W) tensor of an item of `images`, such as resizing, cropping and ToTensor.
        classes: names in the order of the network's outputs; default: the data set's own, or numbers.
        mean: the mean of the normalisation that the module expects, in pixel units (1 is the full range); 0 if the
            module takes [0, 1] directly.
        std: the divisor of the normalisation; 1 if the module takes [0, 1] directly.
        limit: use only this number of images, the first of the protocol or of `images`.
        device: auto, cpu, cuda, cuda:1, …
    Returns:
        The record and its rows; they are not filed.
    Raises:
        UsageError: if a name is unknown, mean and std are missing (or given of a model that has its own), own images
            have another range, type or shape than networks take, labels are missing or are no outputs, or no
            surrogate that attacks can follow can be made (docs/networks.md).
        ModelOutputError: if the output is not finite (N, K) logits.
        IntegrityError: if the module, rebuilt from its state dict, gives other logits.
        EnvironmentFault: if the protocol's images are missing and cannot be downloaded.
    """
    with own_context(), TemporaryDirectory() as temporary, RunProgress(command=False) as progress, ExitStack() as stack:
        folder, count = Path(temporary), _whole(limit)
        if images is None:
            if labels is not None or transform is not None or classes is not None:
                raise UsageError("expected images= beside labels, transform or classes, got them alone; hand in images")
            protocol = str(protocol or FIRST_LOOK)
        else:
            found = gather(images, labels, transform=transform, classes=classes, limit=count)
            protocol, count = stack.enter_context(_own_images(model, found, str(protocol or likeness()))), None
        rules: Protocol = registry.load("protocols", protocol)
        with _reference(model, mean, std, rules, folder) as reference, _offered(attack) as (name, params):
            asked = Request(model=reference, attack=name, protocol=protocol, limit=count, params=params)
            floor = replace(asked, attack=rules.floor, params=None)
            requests = [asked] if name == rules.floor else [floor, asked]
            # Code that exists only in memory has no name under which unfinished work could be kept.
            named = isinstance(model, str) and isinstance(attack, str)
            work = cache_folder() / "work" if named else folder / "work"
            runs = run(requests, Execution(Store(folder / "results"), work, str(device)), progress)
        remark = _remark(model, attack, protocol, count) if images is None else OWN
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
        UsageError: if the model is unknown.
        IntegrityError, NetworkError: if its weights are damaged or cannot be downloaded.
    """
    with own_context():
        entry, _, path = resolve(full(name))
        architecture = registry.load("architectures", entry.architecture.name)
        return build(entry, architecture, path, device=pick_device(str(device)))


def _whole(limit: object) -> int | None:
    """Return a limit as an int.

    It may be a number of Python or NumPy, or a tensor with one number.
    """
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
def _own_images(model: nn.Module | str, found: Gathered, like: str) -> Iterator[str]:
    """Yield the name of a protocol of own images."""
    if isinstance(model, str):
        entry = resolve(full(model)).entry
        outputs, models_of = entry.num_classes, entry.dataset
    else:
        seen = outputs_of(model, found.split.images[:1].float() / 255) if isinstance(model, nn.Module) else None
        outputs, models_of = seen or len(found.classes) or int(found.split.labels.max()) + 1, NAME
    with offered(found, check_labels(found, outputs), registry.load("protocols", like), models_of) as protocol:
        yield protocol


@contextmanager
def _offered(attack: Attack | str) -> Iterator[tuple[str, dict[str, object] | None]]:
    """Yield an attack's name and parameters as `bench run` takes them.

    An object is registered under a name while the block runs.
    """
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
    """Yield the name of a model as `bench run` takes it.

    A module gets an entry in the folder while the block runs.
    """
    if isinstance(model, str):
        if mean is not None or std is not None:
            raise UsageError(f"expected no mean and std of {model}, whose entry has them, got some; leave them out")
        yield full(model)
        return
    if not isinstance(model, nn.Module):
        raise UsageError(f"expected an nn.Module or the name of a model, got {type(model).__name__}; name it")
    trained_on, split = rules.models_of or rules.samples.dataset, source_of(rules.samples).load(rules.samples.split)
    own = trained_on not in registry.names("datasets")  # of images of one's own
    dataset: type[Dataset] = (
        dataset_of(split, classes_of(rules.samples)) if own else registry.load("datasets", trained_on)
    )
    images = split.images[:2].float() / 255
    found = describe(model, mean, std, name=trained_on, dataset=dataset, images=images)
    kept = keep(found, f"{type(model).__name__}, a module in memory", public_name(model), folder)
    with registry.offering("architectures", ARCHITECTURE, found.build):
        yield f"file:{folder / kept.entry.name}.toml"
