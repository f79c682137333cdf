"""Gives the tensors of a foreign checkpoint our names, and reports every key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bench.core.errors import ModelOutputError, UsageError
from model_zoo.foreign.reading import read_tensors
from model_zoo.tensors import STORED_FLOATS

Adopt = Callable[[Mapping[str, tuple[int, ...]]], tuple[dict[str, int], dict[str, str | None]]]
"""An architecture's `adopt`: parameters that foreign shapes tell, and foreign names in ours (None: never used)."""

TABLES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Where checkpoints commonly keep the network, the usual one first; averaged weights must be asked for."""

WRAPPERS = ("module", "_orig_mod", "model", "net", "network")
"""What DataParallel, torch.compile and wrapper classes put before the names."""

MEANS, STDS = frozenset({"mean", "mu"}), frozenset({"std", "sigma"})
OFFSETS = "input_offset"
"""A (2, C) tensor of means and standard deviations, as Woods' networks have it."""

COUNTER = "num_batches_tracked"
"""Of a batch normalisation; older checkpoints lack it, and evaluation never reads it."""


class Checkpoint(NamedTuple):
    """The tensors of one network, as somebody saved them, and where in the file they were."""

    tensors: dict[str, Tensor]
    table: str
    others: tuple[str, ...]
    """Other places in the file that hold tensors."""


class Normalisation(NamedTuple):
    """(x - mean) / std per channel, as a checkpoint carries it."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class KeyReport(NamedTuple):
    """What became of every key."""

    matched: tuple[str, ...]
    renamed: dict[str, str]
    """Their name to ours."""
    unused: tuple[str, ...]
    """Theirs, which their own network never uses."""
    filled: tuple[str, ...]
    """Ours, which no evaluation reads and which the checkpoint lacks."""
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every tensor of the network was found, and nothing else was there."""
        return not self.missing and not self.unexpected


def read_checkpoint(path: Path, table: str | None = None) -> Checkpoint:
    """Read the tensors of one network from a checkpoint; no code of the file runs.

    Args:
        path: the file.
        table: where in the file the network is, such as `ema.state_dict`; default: the usual places.
    Raises:
        UsageError: if there is no such file, or no such table.
        IntegrityError: if it holds no tensors.
    """
    tables = read_tensors(path)
    if table is not None and table not in tables:
        raise UsageError(f"expected one of the tables {', '.join(map(repr, tables))} in {path}, got {table!r}")
    chosen = table if table is not None else min(tables, key=lambda name: _preference(name, len(tables[name])))
    return Checkpoint(tables[chosen], chosen, tuple(name for name in tables if name != chosen))


def strip(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Normalisation | None]:
    """Take off the prefixes that all names share or that wrappers add, and a normalisation in front.

    Raises:
        UsageError: if two names become one.
    """
    normalisation = _normalisation(tensors)
    taken = frozenset() if normalisation is None else MEANS | STDS | {OFFSETS}
    rest = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] not in taken}
    names = {name: _unwrapped(name) for name in rest}
    while len({name.partition(".")[0] for name in names.values()}) == 1 and all("." in n for n in names.values()):
        names = {name: short.partition(".")[2] for name, short in names.items()}
    if len(set(names.values())) < len(names):
        twice = next(name for name in names.values() if list(names.values()).count(name) > 1)
        raise UsageError(f"expected each tensor once, got {twice!r} under two prefixes; save the inner network alone")
    return {names[name]: tensor for name, tensor in rest.items()}, normalisation


def translate(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], names: Mapping[str, str | None]
) -> tuple[dict[str, Tensor], KeyReport]:
    """Give tensors the names of `like`: by name, by the architecture's table, then by the only shape that fits.

    Args:
        tensors: stripped, by their own names.
        like: the state dict of our network.
        names: the architecture's translation of the tensors' names.
    Returns:
        Tensors by our names, and the report; if that is not complete, so are they not.
    Raises:
        UsageError: if a tensor has another shape than its place.
        ModelOutputError: if a number is not finite.
    """
    found: dict[str, str] = {}
    unused, left = [], []
    for name in tensors:
        ours = name if name in like else names.get(name, name)
        if ours is None:
            unused.append(name)
        elif ours in like and ours not in found:
            found[ours] = name
        else:
            left.append(name)
    for ours, name in _by_shape({n: tensors[n] for n in left}, {n: like[n] for n in like if n not in found}).items():
        found[ours] = name
        left.remove(name)
    filled = [name for name in like if name not in found and name.endswith(COUNTER)]
    placed = {ours: _placed(tensors[name], like[ours], name, ours) for ours, name in found.items()}
    placed |= {name: torch.zeros_like(like[name]) for name in filled}
    report = KeyReport(
        matched=tuple(sorted(ours for ours, name in found.items() if ours == name)),
        renamed={name: ours for ours, name in found.items() if ours != name},
        unused=tuple(sorted(unused)),
        filled=tuple(filled),
        missing=tuple(name for name in like if name not in placed),
        unexpected=tuple(sorted(left)),
    )
    return placed, report


def _preference(name: str, count: int) -> tuple[int, int, int]:
    """Order tables: usual places, then the first of a list (a cascade's first network), then the largest."""
    parts = re.findall(r"[^.[\]]+", name)
    usual = [TABLES.index(part) if part in TABLES else len(TABLES) for part in parts if not part.isdigit()]
    return max(usual, default=0), max((int(part) for part in parts if part.isdigit()), default=0), -count


def _normalisation(tensors: Mapping[str, Tensor]) -> Normalisation | None:
    found: dict[bool, list[Tensor]] = {True: [], False: []}
    for name, tensor in tensors.items():
        leaf = name.rpartition(".")[2]
        if leaf in MEANS | STDS:
            found[leaf in MEANS].append(tensor.flatten())
        elif leaf == OFFSETS and tensor.ndim == 2 and len(tensor) == 2:
            found[True].append(tensor[0])
            found[False].append(tensor[1])
    if [len(values) for values in found.values()] != [1, 1]:
        return None
    mean, std = (tuple(round(float(v), 6) for v in values[0]) for values in found.values())
    return Normalisation(mean, std) if len(mean) == len(std) <= 4 and all(std) else None


def _unwrapped(name: str) -> str:
    first, dot, rest = name.partition(".")
    return _unwrapped(rest) if dot and first in WRAPPERS else name


def _by_shape(left: Mapping[str, Tensor], missing: Mapping[str, Tensor]) -> dict[str, str]:
    """Pair what is left with what is missing wherever exactly one tensor of a kind and shape is on each side."""

    def sort(table: Mapping[str, Tensor]) -> dict[tuple[str, tuple[int, ...]], list[str]]:
        kinds: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for name, tensor in table.items():
            kinds.setdefault((name.rpartition(".")[2], tuple(tensor.shape)), []).append(name)
        return kinds

    theirs, ours = sort(left), sort(missing)
    return {ours[k][0]: theirs[k][0] for k in theirs if k[1] and len(theirs[k]) == len(ours.get(k, ())) == 1}


def _placed(tensor: Tensor, like: Tensor, name: str, ours: str) -> Tensor:
    if tensor.shape != like.shape:
        raise UsageError(
            f"expected the shape {tuple(like.shape)} for {ours}, got {tuple(tensor.shape)} in {name!r}; correct "
            "the architecture's parameters with --set"
        )
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise UsageError(f"expected dense real numbers in {name!r}, got {tensor.layout}, {tensor.dtype}; convert them")
    kept = tensor.dtype in STORED_FLOATS and like.is_floating_point()
    placed = tensor.detach().to(tensor.dtype if kept else like.dtype).clone(memory_format=torch.contiguous_format)
    if not torch.isfinite(placed).all():
        raise ModelOutputError(f"expected finite numbers in {name!r}, got NaN or infinity; the weights are unusable")
    return placed
