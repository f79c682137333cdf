"""Errors for users: one sentence, and an exit code for scripts.

Errors in a plug-in's code become one sentence that names the plug-in, its file and the line.
"""

from __future__ import annotations

import difflib
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
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


CONTRACTS = "bench.core.contracts."
BROKEN_DEVICE = ("CUDA error", "cuDNN error", "device-side assert")
"""Words of errors after which this process can no longer use its GPU."""


@contextmanager
def blamed_on(plugin: object) -> Iterator[None]:
    """Run a block that turns the errors of a plug-in into `PluginFault`.

    Errors of the benchmark, errors about missing memory and errors of a broken GPU pass through.
    """
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        if is_out_of_memory(error) or is_broken_device(error):
            raise
        module = sys.modules.get(_code(plugin).__module__)
        raise fault(described(plugin), getattr(module, "__file__", None) or "", error) from error


def described(plugin: object) -> str:
    """Return kind and name of a plug-in.

    `plugin` is an object or a class of a contract, or an architecture's `build`.
    """
    code = _code(plugin)
    bases = inspect.getmro(code) if inspect.isclass(code) else ()
    contracts = [base.__name__ for base in bases if base.__module__.startswith(CONTRACTS)]
    kind = contracts[0].removesuffix("Method").lower() if contracts else "architecture"
    return f"{kind} {code.__module__.rpartition('.')[2].replace('_', '-')}"


def fault(what: str, file: str, error: Exception) -> PluginFault:
    """Return an error in a plug-in as a message to its author."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file]
    if isinstance(error, SyntaxError):
        path, line = error.filename or file, error.lineno
    else:
        path, line = (own or frames)[-1].filename, (own or frames)[-1].lineno
    reason = str(error).strip().split("\n")[0]
    where = "/".join(Path(path).parts[-2:])
    said = f"{type(error).__name__}: {reason}" if reason else type(error).__name__
    return PluginFault(f"{what} ({where}:{line}): {said}; mend it: BENCH_DEBUG=1 shows the traceback")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, on the CPU or a GPU.

    Works without importing torch.
    """
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or "DefaultCPUAllocator" in str(error)


def is_broken_device(error: BaseException) -> bool:
    """Return whether this process can no longer use its GPU."""
    return any(words in str(error) for words in BROKEN_DEVICE)


def _code(plugin: object) -> type:
    """Return the class of an object.

    A class or function is returned as it is.
    """
    code: type = plugin if inspect.isclass(plugin) or inspect.isfunction(plugin) else type(plugin)  # type: ignore[assignment]
    return code
