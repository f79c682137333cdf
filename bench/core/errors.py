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


FEW = 12
"""Names that a sentence can hold."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a question for the known name that is closest to a mistaken one; nothing where none is close."""
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


class UnknownNameError(UsageError):
    """A name that no plug-in, entry or protocol carries; `listing` is the command that shows those that there are."""

    def __init__(self, kind: str, name: str, known: Iterable[str], listing: str = "") -> None:
        names = sorted(known)
        if len(names) <= FEW:
            others = f"known: {', '.join(names) or 'none'}"
        else:
            others = f"{listing} shows them all" if listing else f"there are {len(names)}"
        hints = " ".join(filter(None, (suggestion(name, names), others)))
        super().__init__(f"expected the name of one of the {kind}, got {name!r}; {hints}")


class PluginFault(BenchError):
    """The code of a plug-in, perhaps the user's own, fails or breaks its contract."""


class IntegrityError(BenchError):
    """Bytes that are not the bytes that were promised (hash, size, checksum, format)."""

    exit_code = 3


class NetworkError(BenchError):
    """Something must be fetched and cannot be."""

    exit_code = 4


class UnreachableError(NetworkError):
    """No server answers: this machine may have no network."""


class EnvironmentFault(BenchError):
    """Something that this machine lacks: data, a device, memory, a writable folder."""

    exit_code = 5


class Interrupted(BenchError):
    """Somebody ended the work from the keyboard; says what became of it."""

    exit_code = 130


class Busy(BenchError):
    """Another process is making the same thing."""


class ShapeError(BenchError):
    """A tensor of another shape than its contract."""


class ModelOutputError(BenchError):
    """A model answered with something that is no finite (N, K) logits."""
