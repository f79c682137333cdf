"""Networks of other libraries as ordinary entries.

They are fetched once, checked, and from then on read as safetensors. The fetching is the library's own and may unpickle
files, which nothing else here does: a user who names such a network trusts that library and its download. What it
loaded is written to the cache as safetensors beside an entry, whose SHA-256 pins every run; `file:` reads the same pair
on machines without the library's download.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from safetensors.torch import save as save_tensors
from torch import nn

from bench.core.compute.rng import Rng
from bench.core.contracts import Announced, Zoo, ZooModel
from bench.core.errors import BenchError, EnvironmentFault, IntegrityError, NetworkError
from bench.core.schemas.entry import ModelEntry, TrainingFacts, Weights
from bench.core.storage.files import sha256_of, write_atomic
from bench.core.storage.folders import cache_folder
from bench.core.storage.toml import parse_toml
from model_zoo.build import classifier, freeze
from model_zoo.tensors import read_weights
from model_zoo.weights_file import Resolved, write_entry

TOLERANCE = 1e-4
"""Allowed share of the largest logit: only activations that no longer work in place may round differently."""


def bring_in(zoo_name: str, zoo: Zoo, name: str, check_fit: Callable[[str, Announced], None] | None = None) -> Resolved:
    """Return the entry of another library's network.

    It comes from the cache, or else through that library.

    Args:
        zoo_name: name of the zoo.
        zoo: the library.
        name: of the network in it.
        check_fit: refuses a model before its download.
    Raises:
        UsageError: if the library has no such network.
        EnvironmentFault: if the library is not installed.
        NetworkError: if it cannot load the network.
        IntegrityError: if the network rebuilt from its weights alone gives other logits.
    """
    canonical = zoo.canonical(name)
    reference, folder = f"{zoo_name}:{canonical}", cache_folder() / "zoos" / zoo_name
    if check_fit is not None:
        check_fit(reference, zoo.announce(canonical))
    stem = re.sub(r"[^a-z0-9]+", "-", reference.lower()).strip("-")[:80].strip("-")
    toml = folder / f"{stem}.toml"
    if toml.exists():
        entry = parse_toml(toml, ModelEntry, name=stem)
        if entry.title == reference and (folder / entry.weights.file).is_file():
            return Resolved(entry, reference, folder / entry.weights.file)
    found = _fetch(zoo, reference, canonical, folder / "downloads")
    return keep(found, reference, stem, folder)


def keep(found: ZooModel, reference: str, name: str, folder: Path) -> Resolved:
    """Write a network's entry and its safetensors.

    A run builds the network from these alone.

    Args:
        found: the network, and what its entry says.
        reference: what the entry stands for; its title.
        name: of the entry.
        folder: for both files.
    Raises:
        IntegrityError: if the network rebuilt from its weights alone gives other logits.
    """
    path = folder / f"{name}.safetensors"
    weights = _write(found.network, path)
    _check_rebuilt(found, path, reference)
    entry = ModelEntry(
        name=name,
        title=reference,
        architecture=found.architecture,
        dataset=found.dataset,
        num_classes=found.num_classes,
        weights=weights,
        mean=found.mean,
        std=found.std,
        training=TrainingFacts(method=found.method),
        source=found.source,
        license=found.license,
        added=datetime.now(UTC).date(),
    )
    write_entry(entry, folder)
    return Resolved(entry, reference, path)


def _fetch(zoo: Zoo, reference: str, canonical: str, downloads: Path) -> ZooModel:
    try:
        return zoo.fetch(canonical, downloads)
    except BenchError:
        raise
    except ModuleNotFoundError as error:
        raise EnvironmentFault(f"expected to load {reference}, got: {error}; install that package") from error
    except Exception as error:  # other libraries' errors have no common root
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise NetworkError(
            f"expected to load {reference} by its own library, got: {reason}; connect to the network once, or copy the "
            f"entry and its safetensors from another machine and name them with file:"
        ) from error


def _write(network: nn.Module, path: Path) -> Weights:
    """Write a state dict as safetensors.

    Names are sorted, floats are float32; equal tensors give equal bytes.
    """
    tensors = {}
    for name, tensor in sorted(network.state_dict().items()):
        stored = tensor.detach().cpu()
        tensors[name] = (stored.float() if stored.is_floating_point() else stored).contiguous().clone()
    content = save_tensors(tensors)
    write_atomic(path, content)
    return Weights(file=path.name, sha256=sha256_of(content), size=len(content))


@torch.no_grad()
def _check_rebuilt(found: ZooModel, path: Path, reference: str) -> None:
    """Compare the library's network with the network of a run.

    A run builds it from architecture and weights.
    """
    images = torch.rand((2, *found.shape), generator=Rng(0).fork("zoo").generator())
    own = freeze(classifier(found.network, found.mean, found.std))(images)
    try:
        rebuilt = found.build(found.num_classes, **found.architecture.params)
        rebuilt.load_state_dict(read_weights(path, rebuilt.state_dict()))
        ours = freeze(classifier(rebuilt, found.mean, found.std))(images)
    except BenchError:
        raise
    except Exception as error:  # foreign classes fail in ways of their own
        raise IntegrityError(
            f"expected to rebuild {reference} from its weights, got: {error}; such a network cannot be pinned: "
            "choose another"
        ) from error
    if (gap := float((own - ours).abs().max() / own.abs().max())) > TOLERANCE:
        raise IntegrityError(
            f"expected {reference}, rebuilt from its weights, to answer as the network that was given, got logits that "
            f"differ by {gap:.1e} of the largest; such a network cannot be pinned: choose another"
        )
