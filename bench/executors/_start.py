"""Errors that keep an executor from starting, as one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.core.errors import BenchError, EnvironmentFault


@contextmanager
def starting(what: str, remedy: str) -> Iterator[None]:
    """Run a block that starts software of another package.

    Raises:
        EnvironmentFault: if the block fails with any error.
    """
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        came = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise EnvironmentFault(f"expected {what} to start, got: {came}; {remedy}") from error
