"""Optional libraries, and the sentence that says how to get one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.core.errors import EnvironmentFault

PATIENCE = 5.0
"""Seconds until the Hub counts as out of reach."""


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


@contextmanager
def quickly_offline() -> Iterator[None]:
    """Run a block in which another library uses the Hub.

    Where the Hub does not answer, the library uses its cache alone. The Hub's client tries again for minutes otherwise,
    file by file.
    """
    from huggingface_hub import constants, get_session

    before = constants.HF_HUB_OFFLINE
    try:
        if not before:
            get_session().head(constants.ENDPOINT, timeout=PATIENCE)
    except Exception:
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
