"""Errors for users: one sentence, and an exit code for scripts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import ClassVar


class BenchError(Exception):
    """An error whose sentence says expected, got and what to do.

    `exit_code` is the exit status of the process; 1 means that something failed.
    """

    exit_code: ClassVar[int] = 1


class UsageError(BenchError):
    """A wrong word in a command, or wrong content in a file."""

    exit_code = 2


FEW = 12
"""Largest number of names that a message lists."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return "did you mean …?" with the closest known name.

    Empty where no known name is close.
    """
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else ""


class UnknownNameError(UsageError):
    """A name that does not belong to any plug-in, entry or protocol.

    `listing` is the command that shows all names.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], listing: str = "") -> None:
        names = sorted(known)
        if len(names) <= FEW:
            others = f"known: {', '.join(names) or 'none'}"
        else:
            others = f"{listing} shows them all" if listing else f"there are {len(names)}"
        hints = " ".join(filter(None, (suggestion(name, names), others)))
        super().__init__(f"expected the name of one of the {kind}, got {name!r}; {hints}")


class PluginFault(BenchError):
    """A plug-in whose code fails or breaks its contract."""


class IntegrityError(BenchError):
    """Bytes whose hash, size, checksum or format is not the promised one."""

    exit_code = 3


class NetworkError(BenchError):
    """A needed download that failed."""

    exit_code = 4


class UnreachableError(NetworkError):
    """A download that no server answers, as without a network."""


class EnvironmentFault(BenchError):
    """A lack of data, device, memory or a writable folder."""

    exit_code = 5


class Interrupted(BenchError):
    """An interruption from the keyboard, with the state of the work."""

    exit_code = 130


class Busy(BenchError):
    """A conflict with another process that makes the same thing."""


class ShapeError(BenchError):
    """A tensor whose shape is not the contract's."""


class ModelOutputError(BenchError):
    """A model's answer that is not finite (N, K) logits."""
