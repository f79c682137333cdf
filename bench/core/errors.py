"""Errors that reach a person: one sentence, and the exit code that a script can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class BenchError(Exception):
    """What was expected, what came, what to do; `exit_code` is the process's answer (1: something failed)."""

    exit_code: ClassVar[int] = 1


class UsageError(BenchError):
    """The words of a command or the content of a file we were given are off."""

    exit_code = 2


class UnknownNameError(UsageError):
    """A name that no plug-in, entry or protocol carries."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}? " if close else ""
        super().__init__(
            f"expected the name of one of the {kind}, got {name!r}; {hint}known: {', '.join(names) or 'none'}"
        )


class IntegrityError(BenchError):
    """Bytes that are not the bytes that were promised (hash, size, checksum, format)."""

    exit_code = 3


class NetworkError(BenchError):
    """Something must be fetched and cannot be."""

    exit_code = 4


class EnvironmentFault(BenchError):
    """Something that this machine lacks: data, a device, memory, a writable folder."""

    exit_code = 5


class Busy(BenchError):
    """Another process is making the same thing."""


class ShapeError(BenchError):
    """A tensor of another shape than its contract."""


class ModelOutputError(BenchError):
    """A model answered with something that is no finite (N, K) logits."""
