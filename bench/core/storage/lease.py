"""Leases: one living process at a time may make something.

A lease is a lock of the kernel on an open file. It ends with its process, however that ends, and no clock is needed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.core.errors import Busy, EnvironmentFault

PAUSE = 0.1
"""Seconds between two tries for a lease that another process holds."""


def patient() -> None:
    """Wait for the other process, however long it takes."""


@contextmanager
def lease(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Run a block while this process alone holds `path`.

    Args:
        path: the lock file; it exists while a process holds it.
        waiting: called again and again while another process holds it; None means not to wait.
    Raises:
        Busy: if another process holds it and `waiting` is None.
        EnvironmentFault: if the folder cannot be written.
    """
    lock = FileLock(path)
    while not _taken(lock, path):
        if waiting is None:
            raise Busy(f"expected {path} to be free, got it held by another process; wait for that one, or end it")
        waiting()
        time.sleep(PAUSE)
    try:
        yield
    finally:
        # Removed while it is held: a waiting process then sees that the file is gone, and tries a new one.
        path.unlink(missing_ok=True)
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether a living process holds `path`."""
    if not path.exists():
        return False
    lock = FileLock(path)
    if free := _taken(lock, path):
        lock.release()
    return not free


def _taken(lock: FileLock, path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        return False
    except OSError as error:
        raise EnvironmentFault(
            f"expected to lock {path}, got: {error.strerror or error}; choose a writable folder"
        ) from error
    return True
