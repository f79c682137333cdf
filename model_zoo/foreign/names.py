"""Translates the names of foreign tensors, and reports every key."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from bench.core.errors import FEW, ModelOutputError, UsageError
from model_zoo.foreign.reading import read_tensors
from model_zoo.tensors import STORED_FLOATS

Adopt = Callable[[Mapping[str, tuple[int, ...]]], tuple[dict[str, int], dict[str, str | None]]]
"""An architecture's `adopt`: from published shapes to parameters and to our names. The name is None for a tensor that
is never used."""

TABLES = ("state_dict", "model_state_dict", "model", "net", "network", "weights", "params")
"""Usual places of the network in a checkpoint, the most usual one first. Averaged weights must be named with --table.
"""

WRAPPERS = ("module", "_orig_mod", "model", "net", "network")
"""Prefixes that DataParallel, torch.compile and wrapper classes add to names."""

MEANS, STDS = frozenset({"mean", "mu"}), frozenset({"std", "sigma"})
OFFSETS = "input_offset"
"""Name of a (2, C) tensor of means and standard deviations, which Woods' networks have."""

COUNTER = "num_batches_tracked"
"""A counter of batch normalisation. Older checkpoints lack it, and evaluation never reads it."""


class Checkpoint(NamedTuple):
    """The tensors of one network in a file, and their place."""

    tensors: dict[str, Tensor]
    table: str
    others: tuple[str, ...]
    """Other places in the file that hold tensors."""
    parts: tuple[str, ...] = ()
    """First parts of the names, if there are several: a network and other objects beside it."""
    dropped: tuple[str, ...] = ()
    """Names that the user left out with --drop."""


class Normalisation(NamedTuple):
    """The normalisation (x - mean) / std per channel of a checkpoint."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class KeyReport(NamedTuple):
    """The outcome for every key."""

    matched: tuple[str, ...]
    renamed: dict[str, str]
    """From names in the file to ours."""
    unused: tuple[str, ...]
    """Names in the file that its own network never uses."""
    filled: tuple[str, ...]
    """Our names that the file lacks, but no evaluation reads."""
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: tuple[str, ...]
    """Both names and both shapes, where a name is right but a shape is wrong."""

    @property
    def complete(self) -> bool:
        """Return whether the tensors fit without a rest."""
        return not (self.missing or self.unexpected or self.misshapen)

    @property
    def mostly_other(self) -> bool:
        """Return whether most of the architecture's tensors have no partner."""
        lacking, fitting = len(self.missing) + len(self.misshapen), len(self.matched) + len(self.renamed)
        return lacking > fitting

    @property
    def misfit(self) -> str:
        """Return how many tensors do not fit, and some names."""
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.misshapen}
        return "; ".join(
            f"{len(names)} {kind}: {', '.join(names[:2])}{' …' if len(names) > 2 else ''}"
            for kind, names in kinds.items()
            if names
        )


def read_checkpoint(path: Path, table: str | None = None, drop: Sequence[str] = ()) -> Checkpoint:
    """Return the tensors of one network from a checkpoint.

    No code of the file runs.

    Args:
        path: the file.
        table: place of the network in the file, such as `ema.state_dict`. A prefix of its names may follow, as in
            `state_dict.model`. Default: the usual places.
        drop: prefixes of names to leave out, such as `loss.`.
    Raises:
        UsageError: if the file or the table does not exist, or no name has a prefix of `drop`.
        IntegrityError: if it holds no tensors.
    """
    tables = read_tensors(path)
    parts = {name: part for whole, own in tables.items() for name, part in _parts(whole, own).items()}
    choices = parts | tables
    if table is None:
        chosen = min(tables, key=lambda name: _preference(name, len(tables[name])))
    else:
        chosen = _chosen(table, choices, path, [*tables, *(parts if len(parts) <= FEW else ())])
    tensors = choices[chosen]
    dropped = tuple(name for name in tensors if name.startswith(tuple(drop)))
    for prefix in drop:
        if not any(name.startswith(prefix) for name in dropped):
            raise UsageError(f"expected names in {path} that begin with {prefix!r}, got none; correct --drop")
    kept = {name: tensor for name, tensor in tensors.items() if name not in dropped}
    others = tuple(name for name in tables if name != chosen)
    return Checkpoint(kept, chosen, others, tuple(_parts(chosen, kept)), dropped)


def _chosen(table: str, choices: Mapping[str, object], path: Path, shown: Sequence[str]) -> str:
    """Return the full name of a table.

    The end of the name is enough where it is clear.
    """
    ends = [name for name in choices if name == table] or [name for name in choices if name.endswith(f".{table}")]
    if len(ends) != 1:
        raise UsageError(
            f"expected one of the tables {', '.join(map(repr, shown))} in {path}, got {table!r}; correct --table"
        )
    return ends[0]


def _parts(whole: str, tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the parts of a table by their prefixes."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        first, _, rest = name.partition(".")
        parts.setdefault(f"{whole}.{first}" if whole else first, {})[rest or first] = tensor
    return parts if len(parts) > 1 else {}


def strip(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Normalisation | None]:
    """Return tensors without shared name prefixes, and their normalisation.

    Wrappers add such prefixes.

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
        raise UsageError(
            f"expected each tensor once, got {twice!r} under two prefixes; choose one with --table, or --drop one"
        )
    return {names[name]: tensor for name, tensor in rest.items()}, normalisation


def translate(
    tensors: Mapping[str, Tensor], like: Mapping[str, Tensor], names: Mapping[str, str | None]
) -> tuple[dict[str, Tensor], KeyReport]:
    """Give tensors the names of `like`.

    First by name, then by the architecture's table, then by the only shape that fits.

    Args:
        tensors: tensors by their published names, without prefixes.
        like: the state dict of our network.
        names: the architecture's translation of the tensors' names.
    Returns:
        Tensors by our names, and the report. Some tensors are missing if the report is not complete.
    Raises:
        UsageError: if a tensor is sparse, quantised or complex.
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
    wrong = {ours: name for ours, name in found.items() if tensors[name].shape != like[ours].shape}
    placed = {ours: _placed(tensors[name], like[ours], name) for ours, name in found.items() if ours not in wrong}
    placed |= {name: torch.zeros_like(like[name]) for name in filled}
    report = KeyReport(
        matched=tuple(sorted(ours for ours, name in found.items() if ours == name and ours in placed)),
        renamed={name: ours for ours, name in found.items() if ours != name and ours in placed},
        unused=tuple(sorted(unused)),
        filled=tuple(filled),
        missing=tuple(name for name in like if name not in placed and name not in wrong),
        unexpected=tuple(sorted(left)),
        misshapen=tuple(
            f"{name} {tuple(tensors[name].shape)} for {ours} {tuple(like[ours].shape)}" for ours, name in wrong.items()
        ),
    )
    return placed, report


def _preference(name: str, count: int) -> tuple[int, int, int]:
    """Return tables, the likeliest network first.

    Usual places come first, then the first of a list (a cascade's first network), then the largest.
    """
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
    """Pair remaining tensors with missing ones where only one pair fits.

    A pair has the same kind and shape.
    """

    def sort(table: Mapping[str, Tensor]) -> dict[tuple[str, tuple[int, ...]], list[str]]:
        kinds: dict[tuple[str, tuple[int, ...]], list[str]] = {}
        for name, tensor in table.items():
            kinds.setdefault((name.rpartition(".")[2], tuple(tensor.shape)), []).append(name)
        return kinds

    theirs, ours = sort(left), sort(missing)
    return {ours[k][0]: theirs[k][0] for k in theirs if k[1] and len(theirs[k]) == len(ours.get(k, ())) == 1}


def _placed(tensor: Tensor, like: Tensor, name: str) -> Tensor:
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        raise UsageError(f"expected dense real numbers in {name!r}, got {tensor.layout}, {tensor.dtype}; convert them")
    kept = tensor.dtype in STORED_FLOATS and like.is_floating_point()
    placed = tensor.detach().to(tensor.dtype if kept else like.dtype).clone(memory_format=torch.contiguous_format)
    if not torch.isfinite(placed).all():
        raise ModelOutputError(f"expected finite numbers in {name!r}, got NaN or infinity; the weights are unusable")
    return placed
