"""Turns errors in a plug-in's code into one sentence.

The sentence names the plug-in, its file and the line.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.core.errors import BenchError, PluginFault

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
