"""Optional libraries, and the sentence that says how to get one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.core.errors import EnvironmentFault


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Import the library of an extra in this block.

    Raises:
        EnvironmentFault: if it is not installed, or lacks something itself.
    """
    try:
        yield
    except ImportError as error:
        raise EnvironmentFault(
            f'expected the package {name}, got: {error}; pip install "attribution-bench[{name}]"'
        ) from error
